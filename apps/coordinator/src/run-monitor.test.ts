import { deferred } from '@weft/common';
import { RunStatus } from '@weft/proto';
import { temporaryDirectory, waitFor } from '@weft/testing';
import { expect, it } from 'vitest';
import { launchRequest, openCoordinator } from './testing/open-coordinator.js';
import { ScriptedWorker } from './testing/scripted-worker.js';

it('a run that has workers again after a time without is not behind with its step or checkpoint', async () => {
  await using folder = await temporaryDirectory();
  await using opened = await openCoordinator(folder.path);
  const { coordinator, metrics } = opened;
  const series = async () => {
    await coordinator.updateMetrics();
    return (await metrics.registry.metrics()).match(/^weft_run_(last_step|checkpoint)_timestamp_seconds\{/gm) ?? [];
  };
  const { runId } = await coordinator.runs.launch(launchRequest({ workers: 1, checkpoint: { everySteps: 1 } }));
  const [second, third] = [deferred<void>(), deferred<void>()];
  const first = new ScriptedWorker(coordinator, {
    workerId: 'w0',
    beforeStep: (step) => (step === 3 ? second.promise : undefined),
  });
  await waitFor('two steps', () => coordinator.runs.get(runId).checkpointStep === 2);
  expect(await series()).toHaveLength(2);
  first.kill();
  await waitFor('the loss of its worker', () => coordinator.runs.get(runId).status === RunStatus.RUN_STATUS_QUEUED);
  expect(await series()).toHaveLength(2);
  void new ScriptedWorker(coordinator, { workerId: 'w1', beforeStep: () => third.promise });
  await waitFor('another worker', () => coordinator.runs.get(runId).status === RunStatus.RUN_STATUS_RUNNING);
  expect(await series()).toEqual([]);
  third.resolve();
  await waitFor('its end', () => coordinator.runs.get(runId).status === RunStatus.RUN_STATUS_FINISHED);
  expect(await series()).toHaveLength(2);
});
