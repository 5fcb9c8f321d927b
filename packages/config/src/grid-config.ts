import { didYouMean, isJsonObject } from '@weft/common';
import { z } from 'zod';
import { fileLayer } from './config-file.js';
import { dotted } from './fields.js';
import type { ConfigLayer } from './layers.js';
import { explainIssues, type Problem, problemsError } from './problems.js';
import type { RunConfigInput } from './run-config.js';

/** A grid of settings, resolved: every combination of its axes' values is a cell, and a cell is trained once a seed. */
export interface GridConfig {
  /** Lower-case letters, digits and dashes; files are named after it. */
  readonly name: string;
  /** The heading of table and figure. Default: the name. */
  readonly title: string;
  /** The recipe or run file every run begins with. */
  readonly recipe: string;
  /** Fields of every run, over the recipe. */
  readonly run: RunConfigInput;
  /** Runs that others begin from, trained before them, once for each seed. */
  readonly first: Readonly<Record<string, FirstRun>>;
  /** At least one, in the order of the table's columns. */
  readonly axes: readonly GridAxis[];
  readonly seeds: readonly number[];
}

/** A run that others begin from, such as the pre-training of an encoder. */
interface FirstRun {
  readonly recipe: string;
  /** Fields over the recipe. */
  readonly run: RunConfigInput;
}

/** What is varied. */
export interface GridAxis {
  readonly name: string;
  readonly values: readonly GridValue[];
}

/** One of the values of an axis. */
export interface GridValue {
  /** What table and figure call it. */
  readonly label: string;
  readonly run: RunConfigInput;
}

/** In `initFrom`, the newest checkpoint of a first run: `first:clip`. */
export const FIRST_RUN = 'first:';

const wholeNumber = z.int({ error: 'whole numbers of at least 0' }).min(0, { error: 'whole numbers of at least 0' });
const nameError = 'lower-case letters, digits and single dashes';
const name = () => z.string({ error: nameError }).regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, { error: nameError });
const run = z.record(z.string(), z.unknown(), { error: 'fields of a run' });
const recipe = () => z.string({ error: 'a recipe or a run file' }).min(1, { error: 'a recipe or a run file' });

const axisError = 'a list of values of a field, or a group of settings by name';
const axis = z.union(
  [
    z.array(z.union([z.string(), z.number(), z.boolean(), z.null(), run]), { error: axisError }),
    z.record(
      z.string(),
      run.nullable().transform((given) => given ?? {}),
    ),
  ],
  { error: axisError },
);

const schema = z.strictObject({
  name: name(),
  title: z.string({ error: 'a text' }).optional(),
  recipe: recipe(),
  run: run.default({}),
  first: z
    .record(name(), z.strictObject({ recipe: recipe(), run: run.default({}) }), { error: 'a group of runs by name' })
    .default({}),
  axes: z.record(z.string(), axis, { error: 'a group of axes by name' }),
  seeds: z
    .array(wholeNumber, { error: 'a list of whole numbers' })
    .min(1, { error: 'a list of at least one seed' })
    .default([0]),
});

/** A grid as a person writes it, in a file or as one of the paper's figures. */
export type GridInput = z.input<typeof schema>;

/**
 * Reads a grid from a YAML or JSON file. The fields of its runs are not yet checked.
 *
 * @throws WeftError as `fileLayer`, and `invalid_argument` with file and line for every field that is wrong.
 */
export async function loadGridFile(path: string): Promise<GridConfig> {
  return resolveGrid(await fileLayer(path));
}

/** As `loadGridFile`, of a layer. */
export function resolveGrid(layer: ConfigLayer): GridConfig {
  const parsed = schema.safeParse(layer.value);
  if (!parsed.success) throw problemsError(problemsOf(parsed.error.issues, layer.value), [layer]);
  const { axes: written, title, ...rest } = parsed.data;
  const axes = Object.entries(written).map(([axisName, values]) => ({
    name: axisName,
    values: valuesOf(axisName, values),
  }));
  const problems = problemsOfAxes(axes, rest.seeds);
  if (problems.length > 0) throw problemsError(problems, [layer]);
  return { ...rest, title: title ?? rest.name, axes };
}

/** A list varies the field that the axis is named after; a group has a name for each set of fields. */
function valuesOf(path: string, values: z.output<typeof axis>): readonly GridValue[] {
  if (!Array.isArray(values)) return Object.entries(values).map(([label, fields]) => ({ label, run: fields }));
  return values.map((value) => ({
    label: isJsonObject(value) ? JSON.stringify(value) : String(value),
    run: path.split('.').reduceRight<unknown>((inner, field) => ({ [field]: inner }), value) as RunConfigInput,
  }));
}

function problemsOfAxes(axes: readonly GridAxis[], seeds: readonly number[]): Problem[] {
  const axisProblems = axes.flatMap(({ name, values }): Problem[] => {
    const labels = values.map(({ label }) => label);
    const repeated = labels.find((label, i) => labels.indexOf(label) < i);
    const fields = [['axes', name]];
    if (labels.length === 0) return [{ fields, sentence: `the axis ${name} has no values, but needs at least one` }];
    return repeated === undefined ? [] : [{ fields, sentence: `the axis ${name} has the value ${repeated} twice` }];
  });
  const noAxis =
    axes.length === 0 ? [{ fields: [['axes']], sentence: 'axes is empty, but must have at least one axis' }] : [];
  const seed = seeds.find((each, i) => seeds.indexOf(each) < i);
  const twice = seed === undefined ? [] : [{ fields: [['seeds']], sentence: `seeds has ${seed} twice` }];
  return [...noAxis, ...axisProblems, ...twice];
}

const FIELDS = Object.keys(schema.shape);

function problemsOf(issues: readonly z.core.$ZodIssue[], input: unknown): Problem[] {
  const isUnknown = (issue: z.core.$ZodIssue) => issue.code === 'unrecognized_keys';
  const unknown = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => unknownField([...issue.path.map(String), key])) : [],
  );
  return [
    ...unknown,
    ...explainIssues(
      issues.filter((issue) => !isUnknown(issue)),
      input,
    ),
  ];
}

function unknownField(path: readonly string[]): Problem {
  const isRoot = path.length === 1;
  const meant = didYouMean(path.at(-1) ?? '', isRoot ? FIELDS : ['recipe', 'run']);
  const known = isRoot ? `a grid has ${FIELDS.join(', ')}` : 'a first run has recipe, run';
  const hint = meant === undefined ? known : `did you mean ${meant}?`;
  return { fields: [path], sentence: `unknown field ${JSON.stringify(dotted(path))}, ${hint}` };
}
