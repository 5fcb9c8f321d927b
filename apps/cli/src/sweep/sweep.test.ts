import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfigText, resolveSweep } from '@weft/config';
import { planSweep } from '@weft/sweeps';
import { endedSweepRun, exampleSweep, exampleSweepLoss, temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { main } from '../main.js';
import { baseLayers } from '../resolve-run.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { renderGrid } from './sweep-display.js';

it('the table shows losses, the best of each scale, and what has none', async () => {
  const sweep = resolveSweep(parseConfigText(exampleSweep, 'sweep.yaml'));
  const { runs } = planSweep(sweep, await baseLayers(sweep.recipe), 'sweep.yaml');
  const cells = runs.map((run, i) =>
    i === 3
      ? endedSweepRun(run, 2, { status: 'stopped', step: 9 })
      : i === 4
        ? endedSweepRun(run, 2, { status: 'running', step: 5 })
        : endedSweepRun(run, exampleSweepLoss(run)),
  );
  const [title, small] = renderGrid(cells).map((line) => line.map(({ text }) => text).join(''));
  expect(title).toMatch(/^scale +N +0\.001 +0\.002 +0\.004 +0\.008 +0\.016$/);
  expect(small).toMatch(/^small +[\d.]+ k +25 % +\d\.\d{4} +\d\.\d{4}\* +\d\.\d{4} +given up$/);
});

it('weft lr sweep --dry-run shows the runs and starts nothing', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'sweep.yaml');
  await writeFile(file, exampleSweep);
  const terminal = recordedTerminal();
  expect(await main(['lr', 'sweep', file, '--dry-run'], terminal)).toBe(0);
  expect(terminal.written.out).toMatch(/^demo-\w+: 15 runs\n {2}small: N /);
});
