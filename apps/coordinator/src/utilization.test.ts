import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type MetricsRow, parseMetricsRow } from '@weft/contracts';
import { RunStatus } from '@weft/proto';
import { type TemporaryDirectory, temporaryDirectory, waitFor } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launchRequest, openCoordinator } from './testing/open-coordinator.js';
import { ScriptedWorker, type ScriptOptions } from './testing/scripted-worker.js';

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(() => directory.remove());

/** The rows of a run on workers whose devices have these peaks. */
async function rows(peaks: readonly (ScriptOptions['peak'] | undefined)[]): Promise<MetricsRow[]> {
  await using opened = await openCoordinator(directory.path);
  const { coordinator } = opened;
  const { runId } = await coordinator.runs.launch(launchRequest());
  for (const [at, peak] of peaks.entries())
    void new ScriptedWorker(coordinator, { workerId: `w${at}`, ...(peak === undefined ? {} : { peak }) });
  const run = await waitFor('its end', () => {
    const now = coordinator.runs.get(runId);
    return now.status === RunStatus.RUN_STATUS_FINISHED && now;
  });
  const text = await readFile(join(run.directory, 'metrics.jsonl'), 'utf8');
  return text.split('\n').flatMap((line) => parseMetricsRow(line) ?? []);
}

describe('the MFU of a step', () => {
  const peak = { bf16: 2e9, fp32: 1e9 };

  it('is in its row where the peak of all devices is known, and halves with twice as many', async () => {
    const [one] = await rows([peak, peak]);
    const [half] = await rows([peak, { bf16: 6e9, fp32: 3e9 }]);
    expect(one?.mfu).toBeGreaterThan(0);
    expect(half?.mfu).toBeCloseTo((one?.mfu ?? 0) / 2, 12);
  });

  it('is absent where nobody knows the peak of one of them', async () => {
    expect((await rows([peak, undefined])).filter(({ mfu }) => mfu !== undefined)).toEqual([]);
  });
});
