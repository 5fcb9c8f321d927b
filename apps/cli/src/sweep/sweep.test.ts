import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunsClient } from '@weft/client';
import { WeftError } from '@weft/common';
import { parseConfigText, resolveSweep } from '@weft/config';
import { planSweep, readSweepRun, type SweepPlan } from '@weft/sweeps';
import { endedSweepRun, exampleSweep, exampleSweepLoss, temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { main } from '../main.js';
import { baseLayers } from '../resolve-run.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { followSweep, type LaunchedSweep } from './follow-sweep.js';
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

it.each(['unavailable', 'cancelled', 'deadline_exceeded'] as const)(
  'a sweep is followed through a pause of its coordinator that ends a call as %s',
  async (code) => {
    const plan = await examplePlan();
    const views = plan.runs.map((run) => endedSweepRun(run, null, { status: 'stopped', step: 0 }).view);
    let calls = 0;
    const launched: LaunchedSweep = {
      reused: 0,
      isReused: () => false,
      view: async () => {
        if (++calls === 1) throw new WeftError(code, 'no answer');
        return views;
      },
      result: async () => '',
    };
    const runs = {} as RunsClient;
    const { signal } = new AbortController();
    expect(await followSweep({ ...quietly(plan), launched, runs, signal })).toHaveLength(plan.runs.length);
    expect(calls).toBe(2);
  },
);

it('following a sweep ends when its person says so', async () => {
  const plan = await examplePlan();
  const controller = new AbortController();
  const view = async () => {
    controller.abort();
    throw new WeftError('cancelled', 'the call was given up');
  };
  const launched: LaunchedSweep = { reused: 0, isReused: () => false, view, result: async () => '' };
  const following = followSweep({
    ...quietly(plan),
    ...{ launched, runs: {} as RunsClient, signal: controller.signal },
  });
  await expect(following).rejects.toMatchObject({ code: 'cancelled' });
});

/** How a plan is followed without showing anything. */
function quietly(plan: SweepPlan) {
  return { plan: { read: readSweepRun(plan), isStuck: () => false }, onEnded() {}, onProgress() {} };
}

async function examplePlan() {
  const sweep = resolveSweep(parseConfigText(exampleSweep, 'sweep.yaml'));
  return planSweep(sweep, await baseLayers(sweep.recipe), 'sweep.yaml');
}
