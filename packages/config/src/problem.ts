import { WeftError } from '@weft/common';
import type { FieldPath } from './fields.js';

/** One thing wrong with a configuration. */
export interface Problem {
  /** The field to blame first, then the others that take part in the rule. */
  readonly fields: readonly FieldPath[];
  /** One clear sentence without a full stop: field, value given, what is allowed. */
  readonly sentence: string;
}

/** One error for all problems: a single one is the message itself, several are listed line by line. */
export function problemsError(
  problems: readonly Problem[],
  whereIs: (problem: Problem) => string | undefined,
): WeftError {
  const sentences = problems.map((problem) => {
    const where = whereIs(problem);
    return where === undefined ? problem.sentence : `${where}: ${problem.sentence}`;
  });
  const [only] = sentences;
  if (sentences.length === 1 && only !== undefined) return new WeftError('invalid_argument', only);
  const list = sentences.map((sentence) => `\n  - ${sentence}`).join('');
  return new WeftError('invalid_argument', `the configuration has ${sentences.length} problems:${list}`);
}
