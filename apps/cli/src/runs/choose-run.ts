import { didYouMean, WeftError } from '@weft/common';

/** How many candidates an error lists. */
const LISTED = 5;

/**
 * The id a person meant: the whole of it, its beginning or its end as long as only one fits, or `last` for the newest.
 *
 * @param runIds oldest first.
 * @throws `not_found` naming a near one, `invalid_argument` when several fit.
 */
export function chooseRun(text: string, runIds: readonly string[]): string {
  if (runIds.includes(text)) return text;
  if (text === 'last') {
    const newest = runIds.at(-1);
    if (newest !== undefined) return newest;
    throw new WeftError('not_found', 'there is no run yet', {
      cure: 'launch one with weft launch debugTiny --local 2',
    });
  }
  const fitting = runIds.filter((runId) => runId.startsWith(text) || runId.endsWith(text));
  const [only, ...others] = fitting;
  if (only !== undefined && others.length === 0) return only;
  if (only !== undefined) {
    const listed = fitting.slice(-LISTED).join(', ');
    throw new WeftError('invalid_argument', `${fitting.length} runs fit ${JSON.stringify(text)}`, {
      cure: `write more of the id, or its last letters: ${listed}${fitting.length > LISTED ? ', …' : ''}`,
    });
  }
  const meant = didYouMean(text, runIds);
  throw new WeftError('not_found', `there is no run ${JSON.stringify(text)}`, {
    cure: meant === undefined ? 'see weft ls' : `did you mean ${meant}; weft ls lists them all`,
  });
}
