import { type AutomaticRate, complete } from './complete.js';
import { dotted } from './fields.js';
import { type ConfigLayer, mergeLayers } from './layers.js';
import { mixtureProblems } from './mixture-rules.js';
import { explainIssues, type Problem, problemsError } from './problems.js';
import { brokenRules } from './rules.js';
import type { RunConfig } from './run-config.js';
import { runConfigSchema } from './schema.js';

/**
 * Merges layers (the last on top), checks every field and every rule between fields, and fills in the defaults.
 * A problem names the layer that wrote the field.
 *
 * @param automatic finds a learning rate that is written as `auto`; without it, `auto` is refused
 * @throws WeftError `invalid_argument` with one sentence per problem: where, field, value given, limit or allowed
 * values, and for an unknown field what was probably meant.
 */
export function resolveLayers(layers: readonly ConfigLayer[], automatic?: AutomaticRate): RunConfig {
  const input = mergeLayers(layers);
  const parsed = runConfigSchema.safeParse(input);
  const mixture = mixtureProblems(input);
  if (!parsed.success)
    throw problemsError(withoutRepeats([...mixture, ...explainIssues(parsed.error.issues, input)]), layers);
  if (mixture.length > 0) throw problemsError(mixture, layers);
  const config = complete(parsed.data, automatic);
  if (config === undefined) throw problemsError([UNRESOLVED_RATE], layers);
  if (config.data.tokenizer !== 'bytes' && parsed.data.model.decoder.vocabularySize === undefined) {
    throw problemsError([missingVocabulary(config.data.tokenizer)], layers);
  }
  const problems = brokenRules(config);
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

/** The first sentence about a field is enough. */
function withoutRepeats(problems: readonly Problem[]): readonly Problem[] {
  const fields = problems.map((problem) => dotted(problem.fields[0] ?? []));
  return problems.filter((_, i) => fields.indexOf(fields[i] ?? '') === i);
}

const UNRESOLVED_RATE: Problem = {
  fields: [['optimizer', 'learningRate']],
  sentence: 'optimizer.learningRate is auto, but must be a number above 0 here: weft launch resolves it',
};

function missingVocabulary(tokenizer: string): Problem {
  return {
    fields: [['model', 'decoder', 'vocabularySize']],
    sentence: `model.decoder.vocabularySize is missing: it must be the vocabulary of ${tokenizer}, a whole number of at least 1`,
  };
}
