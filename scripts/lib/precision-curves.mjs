// Compares two sets of loss curves that differ in the precision only. Pure: `scripts/precision-curves.mjs` trains.

/** @typedef {{ readonly step: number; readonly loss: number }} Point */
/** @typedef {{ readonly seed: number; readonly losses: readonly number[]; readonly heldOut: readonly Point[] }} Run */
/** @typedef {{ readonly fp32: readonly Run[]; readonly bf16: readonly Run[] }} Runs */

/** Batches differ more than runs do: losses are averaged over so many steps, the middle one included. */
export const WINDOW_STEPS = 21;

/**
 * The centred mean over `WINDOW_STEPS` steps; at the ends over what there is.
 *
 * @param {readonly number[]} losses
 * @returns {number[]}
 */
export function smoothed(losses) {
  const reach = (WINDOW_STEPS - 1) / 2;
  return losses.map((_, at) => mean(losses.slice(Math.max(0, at - reach), at + reach + 1)));
}

/**
 * How far bf16 is from fp32, beside how far fp32 is from itself with another seed. All in nats per text token.
 * `apart` is the mean of absolute differences of smoothed training losses over all steps; `heldOut` compares the last
 * held-out losses.
 *
 * @param {Runs} runs the same seeds in both
 */
export function comparePrecisions({ fp32, bf16 }) {
  const pairs = fp32.map((run, i) => /** @type {const} */ ([run, /** @type {Run} */ (bf16[i])]));
  const seedPairs = fp32.flatMap((run, i) => fp32.slice(i + 1).map((other) => /** @type {const} */ ([run, other])));
  const apart = (/** @type {readonly (readonly [Run, Run])[]} */ each) =>
    mean(each.map(([a, b]) => mean(differences(smoothed(a.losses), smoothed(b.losses)).map(Math.abs))));
  const heldOutShifts = pairs.map(([a, b]) => last(b) - last(a));
  return {
    apart: { precisions: apart(pairs), seeds: apart(seedPairs) },
    heldOut: {
      fp32: mean(fp32.map(last)),
      bf16: mean(bf16.map(last)),
      /** Of bf16 over fp32, seed by seed. */
      shifts: heldOutShifts,
      /** Standard deviation over the seeds. */
      deviation: { fp32: deviation(fp32.map(last)), bf16: deviation(bf16.map(last)) },
    },
  };
}

/**
 * Whether the difference is noise: two precisions of a seed lie closer together than two seeds of fp32 in
 * training, and what bf16 shifts the held-out loss by, on average, is less than a standard deviation over the seeds.
 *
 * @param {ReturnType<typeof comparePrecisions>} comparison
 */
export function isWithinNoise({ apart, heldOut }) {
  return apart.precisions < apart.seeds && Math.abs(mean(heldOut.shifts)) < heldOut.deviation.fp32;
}

/**
 * @param {readonly number[]} a
 * @param {readonly number[]} b
 * @returns {number[]} a − b
 */
export function differences(a, b) {
  return a.map((value, i) => value - /** @type {number} */ (b[i]));
}

/** @param {readonly number[]} values */
export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** @param {readonly number[]} values */
function deviation(values) {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

/** @param {Run} run */
function last({ heldOut }) {
  return heldOut.at(-1)?.loss ?? Number.NaN;
}
