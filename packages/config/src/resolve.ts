import { type AutomaticRate, complete } from './complete.js';
import { withoutUnusedParts } from './encoder-tasks.js';
import { dotted } from './fields.js';
import { type ConfigLayer, mergeLayers } from './layers.js';
import { mixtureProblems } from './mixture-rules.js';
import { explainIssues, type Problem, problem, problemsError } from './problems.js';
import { brokenRules } from './rules.js';
import type { RunConfig } from './run-config.js';
import { type ParsedConfig, runConfigSchema } from './schema.js';

/**
 * Merges layers (the last on top), checks every field and every rule between fields, and fills in the defaults.
 * A problem names the layer that wrote the field.
 *
 * @param automatic finds a learning rate that is written as `auto`; without it, `auto` is refused
 * @throws WeftError `invalid_argument` with one sentence per problem: where, field, value given, limit or allowed
 * values, and for an unknown field what was probably meant.
 */
export function resolveLayers(layers: readonly ConfigLayer[], automatic?: AutomaticRate): RunConfig {
  for (const layer of layers) refuseDeep(layer);
  const input = withoutUnusedParts(mergeLayers(layers));
  const parsed = runConfigSchema.safeParse(input);
  const mixture = mixtureProblems(input);
  if (!parsed.success)
    throw problemsError(withoutRepeats([...mixture, ...explainIssues(parsed.error.issues, input)]), layers);
  if (mixture.length > 0) throw problemsError(mixture, layers);
  const config = complete(parsed.data, automatic);
  if (config === undefined) throw problemsError([UNRESOLVED_RATE], layers);
  const { field, size } = writtenVocabulary(parsed.data);
  if (config.data.tokenizer !== 'bytes' && size === undefined) {
    throw problemsError([missingVocabulary(field, config.data.tokenizer)], layers);
  }
  const problems = [...derivedProblems(parsed.data, config), ...brokenRules(config)];
  if (problems.length > 0) throw problemsError(problems, layers);
  return config;
}

/**
 * What a person wrote → a whole, checked `RunConfig`. `where` is named in front of every problem, for instance a file.
 *
 * @throws WeftError `invalid_argument`, as `resolveLayers`.
 */
export function resolveRunConfig(input: unknown, where?: string): RunConfig {
  return resolveLayers([where === undefined ? { value: input } : { value: input, where: () => where }]);
}

/** More than any field has; what is far deeper overflows the stack of whoever looks at it. */
const DEEPEST = 32;

function refuseDeep({ value, where }: ConfigLayer): void {
  let inner: unknown[] = [value];
  for (let depth = 0; inner.length > 0; depth++) {
    if (depth > DEEPEST) {
      const sentence = `the configuration is nested more than ${DEEPEST} levels deep, which no field is`;
      throw problemsError([{ fields: [[]], sentence }], where === undefined ? [] : [{ value: {}, where }]);
    }
    inner = inner.flatMap((each) => (typeof each === 'object' && each !== null ? Object.values(each) : []));
  }
}

/** The first sentence about a field is enough. */
function withoutRepeats(problems: readonly Problem[]): readonly Problem[] {
  const fields = problems.map((problem) => dotted(problem.fields[0] ?? []));
  return problems.filter((_, i) => fields.indexOf(fields[i] ?? '') === i);
}

/** A default that follows from another field is not to blame: the field that was written is. */
function derivedProblems({ optimizer: written }: ParsedConfig, { optimizer }: RunConfig): Problem[] {
  const { learningRate, weightDecay } = optimizer;
  if (written.weightDecay !== undefined || weightDecay < 1) return [];
  const sentence = `optimizer.learningRate is ${learningRate}, which makes optimizer.weightDecay ${weightDecay}, but that must be below 1: write a smaller rate, or a weight decay too`;
  return [{ fields: [['optimizer', 'learningRate']], sentence }];
}

const UNRESOLVED_RATE: Problem = {
  fields: [['optimizer', 'learningRate']],
  sentence: 'optimizer.learningRate is auto, but must be a number above 0 here: weft launch resolves it',
};

/** The size of the vocabulary as it was written, and where that is. */
function writtenVocabulary({ task, model }: ParsedConfig): {
  readonly field: string;
  readonly size: number | undefined;
} {
  if (task.kind === 'contrastive') return { field: 'task.text.vocabularySize', size: task.text.vocabularySize };
  return { field: 'model.decoder.vocabularySize', size: model.decoder.vocabularySize };
}

function missingVocabulary(field: string, tokenizer: string): Problem {
  const sentence = `${field} is missing: it must be the vocabulary of ${tokenizer}, a whole number of at least 1`;
  return problem([field], sentence);
}
