import { didYouMean } from '@weft/common';
import { z } from 'zod';
import { fileLayer } from './config-file.js';
import { dotted } from './fields.js';
import type { ConfigLayer } from './layers.js';
import { explainIssues, type Problem, problemsError } from './problems.js';
import type { RunConfigInput } from './run-config.js';

/**
 * What a sweep can compare its runs by: all that a line of `metrics.jsonl` measures, under the names it has there but for
 * `trainingLoss` (`loss`) and `heldOutLoss` (`heldOut`). Those of experts are means over the MoE layers.
 */
const SWEEP_METRICS = [
  'trainingLoss',
  'heldOutLoss',
  'gradNorm',
  'tokensPerSecond',
  'seconds.data',
  'seconds.compute',
  'seconds.communication',
  'seconds.apply',
  'moe.droppedShare',
  'moe.loadBalanceLoss',
  'moe.routerZLoss',
  'moe.routerEntropy',
] as const;
/**
 * `heldOutLoss.essays` is that of one source, `eval.coco.8` the score of a task with 8 shots, `eval.average.8` the mean over
 * all tasks with images and `eval.textAverage.8` over those without.
 */
export type SweepMetric = (typeof SWEEP_METRICS)[number] | `heldOutLoss.${string}` | `eval.${string}`;

/** Scales × learning rates × seeds, resolved: nothing optional but what a run itself may leave out. */
export interface SweepConfig {
  /** Lower-case letters, digits and dashes; runs and files are named after it. */
  readonly name: string;
  /** The recipe or run file every run begins with. */
  readonly recipe: string;
  /** Fields of every run, over the recipe. */
  readonly run: RunConfigInput;
  /** At least one; a fit needs three. */
  readonly scales: readonly SweepScale[];
  readonly seeds: readonly number[];
  readonly metric: SweepMetric;
  /** Default: for scores of tasks. */
  readonly higherIsBetter: boolean;
  /** Every metric but a held-out loss and a score is the mean over this many last steps. */
  readonly lastSteps: number;
  readonly earlyStop: EarlyStop | null;
  /** Sizes to predict for when all is fitted. */
  readonly predict: readonly Omit<SweepScale, 'learningRates'>[];
}

interface SweepScale {
  readonly name: string;
  /** Fields that make the scale, over those of every run. */
  readonly run: RunConfigInput;
  /** Rising. */
  readonly learningRates: readonly number[];
}

/** When a run is given up as hopeless. */
interface EarlyStop {
  /** Not before this part of its steps. */
  readonly afterPart: number;
  /** Its loss is this part above the best one of its scale at the same step. */
  readonly worseBy: number;
}

const wholeNumber = (min: number) => {
  const error = `a whole number of at least ${min}`;
  return z.int({ error }).min(min, { error });
};
const share = (error: string) => z.number({ error }).positive({ error }).lte(1, { error });
const name = () =>
  z.string().regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, { error: 'lower-case letters, digits and single dashes' });
const rate = () => z.number({ error: 'a number above 0' }).positive({ error: 'a number above 0' });

const metricError = `one of ${SWEEP_METRICS.join(', ').replace('heldOutLoss', 'heldOutLoss, heldOutLoss.<source>, eval.<task>.<shots>, eval.average.<shots>')}`;

const ratesError = 'a list of rates, or lowest, highest and count';
const rates = z.union(
  [
    z.array(rate(), { error: ratesError }).min(1, { error: 'at least one rate' }),
    z.strictObject({ lowest: rate(), highest: rate(), count: wholeNumber(2) }),
  ],
  { error: ratesError },
);
const run = z.record(z.string(), z.unknown(), { error: 'fields of a run' }).default({});

const schema = z.strictObject({
  name: name(),
  recipe: z.string({ error: 'a recipe or a run file' }).min(1),
  run,
  scales: z
    .array(z.strictObject({ name: name(), run, learningRates: rates.optional() }), { error: 'a list of scales' })
    .min(1, { error: 'at least one scale' }),
  learningRates: rates.optional(),
  seeds: z.array(wholeNumber(0), { error: 'a list of whole numbers' }).min(1).default([0]),
  metric: z
    .union(
      [
        z.enum(SWEEP_METRICS),
        z.templateLiteral(['heldOutLoss.', z.string().min(1)]),
        z.templateLiteral(['eval.', z.string().min(1)]),
      ],
      { error: metricError },
    )
    .default('trainingLoss'),
  higherIsBetter: z.boolean({ error: 'true or false' }).optional(),
  lastSteps: wholeNumber(1).default(10),
  earlyStop: z
    .strictObject({
      afterPart: share('a part above 0, at most 1').default(0.5),
      worseBy: z.number({ error: 'a number above 0' }).positive({ error: 'a number above 0' }).default(0.1),
    })
    .nullable()
    .default({ afterPart: 0.5, worseBy: 0.1 }),
  predict: z.array(z.strictObject({ name: name(), run }), { error: 'a list of scales' }).default([]),
});

/**
 * Reads a sweep from a YAML or JSON file. The fields of its runs are not yet checked.
 *
 * @throws WeftError as `fileLayer`, and `invalid_argument` with file and line for every field that is wrong.
 */
export async function loadSweepFile(path: string): Promise<SweepConfig> {
  return resolveSweep(await fileLayer(path));
}

/** As `loadSweepFile`, of a layer. */
export function resolveSweep(layer: ConfigLayer): SweepConfig {
  const parsed = schema.safeParse(layer.value);
  if (!parsed.success) throw problemsError(problemsOf(parsed.error.issues, layer.value), [layer]);
  const { learningRates: common, scales, higherIsBetter, ...rest } = parsed.data;
  const problems = [...withoutRates(scales, common), ...repeatedNames([...scales, ...rest.predict])];
  if (problems.length > 0) throw problemsError(problems, [layer]);
  return {
    ...rest,
    higherIsBetter: higherIsBetter ?? rest.metric.startsWith('eval.'),
    scales: scales.map(({ learningRates = common, ...scale }) => ({ ...scale, learningRates: listOf(learningRates) })),
  };
}

type Rates = z.output<typeof rates>;

/** Rates spaced evenly in their logarithms, to three digits; a list is sorted. */
function listOf(written: Rates | undefined): readonly number[] {
  if (written === undefined) return [];
  if (Array.isArray(written)) return [...new Set(written)].toSorted((a, b) => a - b);
  const { lowest, highest, count } = written;
  const ratio = highest / lowest;
  return Array.from({ length: count }, (_, i) => Number((lowest * ratio ** (i / (count - 1))).toPrecision(3)));
}

function withoutRates(
  scales: readonly { name: string; learningRates?: Rates | undefined }[],
  common: Rates | undefined,
): Problem[] {
  if (common !== undefined) return [];
  return scales
    .filter(({ learningRates }) => learningRates === undefined)
    .map((scale) => ({
      fields: [['scales']],
      sentence: `the scale ${scale.name} has no learningRates, nor has the sweep`,
    }));
}

function repeatedNames(scales: readonly { name: string }[]): Problem[] {
  const names = scales.map((scale) => scale.name);
  const repeated = names.find((each, i) => names.indexOf(each) < i);
  return repeated === undefined ? [] : [{ fields: [['scales']], sentence: `two scales are called ${repeated}` }];
}

function problemsOf(issues: readonly z.core.$ZodIssue[], input: unknown): Problem[] {
  const unknown = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => unknownSweepField([...issue.path.map(String), key]))
      : [],
  );
  return [
    ...unknown,
    ...explainIssues(
      issues.filter(({ code }) => code !== 'unrecognized_keys'),
      input,
    ),
  ];
}

const FIELDS = [...Object.keys(schema.shape), 'afterPart', 'worseBy', 'lowest', 'highest', 'count'];

function unknownSweepField(path: readonly string[]): Problem {
  const meant = didYouMean(path.at(-1) ?? '', FIELDS);
  const hint = meant === undefined ? `a sweep has ${Object.keys(schema.shape).join(', ')}` : `did you mean ${meant}?`;
  return { fields: [path], sentence: `unknown field ${JSON.stringify(dotted(path))}, ${hint}` };
}
