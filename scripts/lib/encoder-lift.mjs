// What `scripts/encoder-lift.mjs` makes of its numbers.

/** @typedef {{ readonly loss: number; readonly score: number }} Found Held-out loss of pages, score of questions. */
/** @typedef {Readonly<Record<'random' | 'clip' | 'aim', readonly Found[]>>} FoundByEncoder One for each seed. */

/** @param {readonly number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * A table, ready for docs/encoders.md: means over the seeds, and each seed's value behind them.
 *
 * @param {FoundByEncoder} found
 * @param {readonly number[]} seeds
 */
export function summary(found, seeds) {
  const cell = (/** @type {readonly number[]} */ values, /** @type {number} */ digits) =>
    `${mean(values).toFixed(digits)} (${values.map((value) => value.toFixed(digits)).join(', ')})`;
  return [
    `| encoder, seeds ${seeds.join(', ')} | held-out loss of pages | score of questions with 4 and 8 shots |`,
    '|---|---|---|',
    ...Object.entries(found).map(([encoder, runs]) => {
      const losses = runs.map(({ loss }) => loss);
      const scores = runs.map(({ score }) => score);
      return `| ${encoder} | ${cell(losses, 4)} | ${cell(scores, 2)} |`;
    }),
  ].join('\n');
}

/**
 * Whether both encoders give a lower loss with every seed, and a higher score on average, than random ones.
 *
 * @param {FoundByEncoder} found
 */
export function isLifted({ random, clip, aim }) {
  const score = (/** @type {readonly Found[]} */ runs) => mean(runs.map((run) => run.score));
  return [clip, aim].every(
    (encoder) =>
      encoder.every(({ loss }, i) => loss < (random[i]?.loss ?? Number.NaN)) && score(encoder) > score(random),
  );
}
