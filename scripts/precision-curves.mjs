// `node scripts/precision-curves.mjs`: the plots and numbers of docs/precision.md. Trains debugTiny on the demo data
// for 300 steps in fp32 and in bf16, with several seeds each, and draws the losses. Ends with 1 when the precisions
// differ by more than noise. What has been trained before in this home ($WEFT_HOME, or .weft) is not trained again.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { linePlot } from '@weft/scaling';
import {
  comparePrecisions,
  differences,
  isWithinNoise,
  mean,
  smoothed,
  WINDOW_STEPS,
} from './lib/precision-curves.mjs';
import { ROOT } from './lib/root.mjs';
import { weft as runWeft } from './lib/weft.mjs';

const STEPS = 300;
const SEEDS = [17, 18, 19, 20, 21, 22];
const PRECISIONS = /** @type {const} */ (['fp32', 'bf16']);
const COLORS = { fp32: '#1f5fbf', bf16: '#c2410c', seeds: '#9aa5b5' };
const HOME = process.env.WEFT_HOME ?? join(ROOT, '.weft');
const picture = (/** @type {string} */ name) => join(ROOT, 'docs/examples', name);

/**
 * The losses of a run, trained now unless it was before.
 *
 * @param {'fp32' | 'bf16'} precision
 * @param {number} seed
 */
async function losses(precision, seed) {
  const name = `precision-${precision}-${seed}`;
  const known = finished(name);
  if (known !== undefined) return { seed, ...known };
  const settings = [
    `recipe=${name}`,
    `seed=${seed}`,
    `precision=${precision}`,
    'evaluation.sequencesPerSource=48',
    'evaluation.everySteps=50',
    `checkpoint.everySteps=${STEPS}`,
    'checkpoint.keepLast=1',
  ];
  await weft(['launch', 'debugTiny', '--local', '1', '--steps', `${STEPS}`, '--set', ...settings]);
  const trained = finished(name);
  if (trained === undefined) throw new Error(`${name} has no ${STEPS} steps in ${HOME}`);
  return { seed, ...trained };
}

/**
 * The losses of the run of this name that has taken all its steps.
 *
 * @param {string} name
 */
function finished(name) {
  const runs = join(HOME, 'runs');
  for (const directory of existsSync(runs) ? readdirSync(runs) : []) {
    const [config, metrics] = ['config.json', 'metrics.jsonl'].map((file) => join(runs, directory, file));
    if (!config || !metrics || !existsSync(metrics) || JSON.parse(readFileSync(config, 'utf8')).recipe !== name)
      continue;
    /** @type {{ step: number; loss: number; heldOut?: { loss: number } | null }[]} */
    const rows = readFileSync(metrics, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    if (rows.at(-1)?.step !== STEPS) continue;
    const heldOut = rows.flatMap((row) => (row.heldOut ? [{ step: row.step, loss: row.heldOut.loss }] : []));
    return { losses: rows.map(({ loss }) => loss), heldOut };
  }
  return undefined;
}

/** @param {readonly string[]} args */
const weft = (args) => runWeft(args, HOME);

await weft(['data', 'fetch', 'demo']);
await weft(['data', 'index', 'debugTiny']);
/** @type {Record<'fp32' | 'bf16', Awaited<ReturnType<typeof losses>>[]>} */
const runs = { fp32: [], bf16: [] };
for (const seed of SEEDS) for (const precision of PRECISIONS) runs[precision].push(await losses(precision, seed));

const comparison = comparePrecisions(runs);
const { apart, heldOut } = comparison;
const nats = (/** @type {number} */ value) => value.toFixed(4);
const signed = (/** @type {number} */ value) => `${value < 0 ? '−' : '+'}${nats(Math.abs(value))}`;
console.log(
  `held-out loss after ${STEPS} steps: fp32 ${nats(heldOut.fp32)}, bf16 ${nats(heldOut.bf16)} nats per text token`,
);
console.log(
  `  bf16 over fp32, seed by seed: ${heldOut.shifts.map(signed).join(', ')}; mean ${signed(mean(heldOut.shifts))}`,
);
console.log(
  `  standard deviation over the seeds: fp32 ${nats(heldOut.deviation.fp32)}, bf16 ${nats(heldOut.deviation.bf16)}`,
);
console.log(`training losses, means over ${WINDOW_STEPS} steps, apart on average:`);
console.log(`  bf16 from fp32, same seed: ${nats(apart.precisions)}; fp32 from fp32, other seed: ${nats(apart.seeds)}`);

const byStep = (/** @type {readonly number[]} */ values) =>
  values.map((value, i) => /** @type {const} */ ([i + 1, value]));
const points = (/** @type {readonly { step: number; loss: number }[]} */ each) =>
  each.map(({ step, loss }) => /** @type {const} */ ([step, loss]));
const subtitle = `debugTiny on the demo data, seeds ${SEEDS[0]} to ${SEEDS.at(-1)}; means over ${WINDOW_STEPS} steps`;
writeFileSync(
  picture('precision-losses.svg'),
  linePlot({
    title: 'Loss in fp32 and in bf16',
    subtitle: `${subtitle}; circles: held-out loss`,
    xTitle: 'step',
    yTitle: 'loss, nats per text token',
    yScale: 'logarithmic',
    groups: PRECISIONS.map((precision) => ({
      name: precision,
      color: COLORS[precision],
      lines: runs[precision].map((run) => byStep(smoothed(run.losses))),
      dots: runs[precision].flatMap((run) => points(run.heldOut)),
    })),
  }),
);
writeFileSync(
  picture('precision-difference.svg'),
  linePlot({
    title: 'What bf16 changes, beside what another seed changes',
    subtitle,
    xTitle: 'step',
    yTitle: 'difference of losses, nats per text token',
    yScale: 'linear',
    groups: [
      {
        name: 'fp32, two seeds',
        color: COLORS.seeds,
        lines: runs.fp32.flatMap((a, i) =>
          runs.fp32.slice(i + 1).map((b) => byStep(differences(smoothed(a.losses), smoothed(b.losses)))),
        ),
      },
      {
        name: 'bf16 − fp32, one seed',
        color: COLORS.bf16,
        lines: runs.bf16.map((run, i) =>
          byStep(differences(smoothed(run.losses), smoothed(/** @type {typeof run} */ (runs.fp32[i]).losses))),
        ),
      },
    ],
  }),
);
console.log('drawn: docs/examples/precision-losses.svg, docs/examples/precision-difference.svg');
if (!isWithinNoise(comparison)) {
  console.error('bf16 differs from fp32 by more than noise');
  process.exitCode = 1;
}
