import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfigText, resolveSweep } from '@weft/config';
import type { RunView } from '@weft/contracts';
import { type PlannedRun, planSweep, type SweepRun, sweepRun } from '@weft/sweeps';
import { exampleRun, exampleStep, temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { main } from '../main.js';
import { baseLayers } from '../resolve-run.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { renderGrid } from './sweep-display.js';

const scale = (name: string, width: number) =>
  `  - { name: ${name}, run: { model: { decoder: { width: ${width}, feedForwardWidth: ${3 * width} } } } }`;
const TEXT = ['name: demo', 'recipe: debugNano', 'run: { steps: 20 }', 'scales:']
  .concat([scale('small', 16), scale('middle', 32), scale('large', 64)])
  .concat(['learningRates: [1.0e-3, 2.0e-3, 4.0e-3, 8.0e-3, 1.6e-2]', 'seeds: [1]', 'lastSteps: 1', ''])
  .join('\n');
/** A run of the plan that came to a loss. */
function ended(planned: PlannedRun, loss: number | null, changes: Partial<RunView> = {}): SweepRun {
  const view = exampleRun({ status: 'finished', step: 20, steps: 20, runId: `run-${planned.key}`, ...changes });
  const metrics = Array.from({ length: view.step }, (_, i) => exampleStep(i + 1, { loss }));
  return sweepRun(planned, view, metrics, { metric: 'trainingLoss', lastSteps: 1 });
}

/** Losses around a best rate of 0.2·0.02·(N/6736)^−0.2. */
const bowl = ({ params, learningRate }: PlannedRun) =>
  2 + 0.1 * Math.log(learningRate / (0.2 * 0.02 * (params / 6736) ** -0.2)) ** 2;

it('the table shows losses, the best of each scale, and what has none', async () => {
  const sweep = resolveSweep(parseConfigText(TEXT, 'sweep.yaml'));
  const { runs } = planSweep(sweep, await baseLayers(sweep.recipe), 'sweep.yaml');
  const cells = runs.map((run, i) =>
    i === 3
      ? ended(run, 2, { status: 'stopped', step: 9 })
      : i === 4
        ? ended(run, 2, { status: 'running', step: 5 })
        : ended(run, bowl(run)),
  );
  const [title, small] = renderGrid(cells).map((line) => line.map(({ text }) => text).join(''));
  expect(title).toMatch(/^scale +N +0\.001 +0\.002 +0\.004 +0\.008 +0\.016$/);
  expect(small).toMatch(/^small +[\d.]+ k +25 % +\d\.\d{4} +\d\.\d{4}\* +\d\.\d{4} +given up$/);
});

it('weft lr sweep --dry-run shows the runs and starts nothing', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'sweep.yaml');
  await writeFile(file, TEXT);
  const terminal = recordedTerminal();
  expect(await main(['lr', 'sweep', file, '--dry-run'], terminal)).toBe(0);
  expect(terminal.written.out).toMatch(/^demo-\w+: 15 runs\n {2}small: N /);
});
