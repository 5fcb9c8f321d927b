import { readFileSync } from 'node:fs';
import { Ledger } from '@weft/mixture';
import { describe, expect, it } from 'vitest';
import { ledgerRecords, parseRunRecord, type RunRecord, replay } from './index.js';

/** A log of Weft 0.1 as it lies on users' disks, with every kind of record. */
const written = readFileSync(new URL('./fixtures/events-0.1.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => parseRunRecord((JSON.parse(line) as { record: unknown }).record));

describe('a log that an earlier version wrote', () => {
  it('holds every kind of record of its time and describes the same run', () => {
    const kinds: Record<
      Exclude<RunRecord['kind'], 'continued' | 'rolledBack' | 'hung' | 'straggler' | 'mixtureChanged'>,
      number
    > = {
      launched: 1,
      assigned: 7,
      committed: 12,
      checkpointWritten: 3,
      workerLost: 2,
      ringBroke: 1,
      requeued: 1,
      attemptFailed: 1,
      resumed: 4,
      stopRequested: 1,
      stopped: 1,
      failed: 1,
      finished: 1,
    };
    const count = (kind: string) => written.filter((record) => record.kind === kind).length;
    expect(Object.fromEntries(Object.keys(kinds).map((kind) => [kind, count(kind)]))).toEqual(kinds);
    expect(replay(written)).toMatchObject({
      runId: 'tiny-1',
      status: 'finished',
      reason: 'all 9 steps are trained and their checkpoint is written',
      step: 9,
      generation: 7,
      checkpointStep: 9,
      checkpoints: [{ step: 2 }, { step: 5 }, { step: 9 }],
      lastWorkers: { workers: 2, expertWorkers: 0 },
      loss: 2,
      skippedInARow: 0,
      failure: undefined,
      parent: null,
      failedAttempts: 0,
      resubmissions: 2,
      isInterrupted: false,
      createdAtMs: 1_767_225_600_000,
      updatedAtMs: 1_767_225_606_500,
      config: {
        ...{ recipe: 'tiny', steps: 9, workers: 2, minWorkers: null, expertWorkers: 0 },
        data: { sources: { captioned: 'captioned', interleaved: 'interleaved', text: 'text' } },
      },
    });
    expect(Ledger.fold(ledgerRecords(written)).problems()).toEqual([]);
  });

  it('keeps the hint of a failure, which it calls cure', () => {
    const upToFailure = written.slice(0, written.findIndex(({ kind }) => kind === 'failed') + 1);
    expect(replay(upToFailure).failure).toEqual({
      code: 'invalid_argument',
      message: 'rank 0: the data is gone',
      hint: 'bring it back',
    });
  });

  it('describes the run at every point of its life', () => {
    const statusAfter = (kind: RunRecord['kind']) =>
      replay(written.slice(0, written.findIndex((record) => record.kind === kind) + 1)).status;
    expect(
      (['launched', 'assigned', 'requeued', 'attemptFailed', 'stopRequested', 'stopped', 'failed'] as const).map(
        statusAfter,
      ),
    ).toEqual(['queued', 'running', 'queued', 'queued', 'stopping', 'stopped', 'failed']);
  });
});

it('refuses a record of a kind that it does not know', () => {
  expect(() => parseRunRecord({ kind: 'dissolved' })).toThrow('has the unknown kind "dissolved"');
});
