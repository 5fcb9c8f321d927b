import { RunLog, timeAt } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { Timeline } from './timeline.js';

const failure = { code: 'internal', message: 'the engine choked', hint: null } as const;

describe('the story of a run', () => {
  it('lists what happened in order, steps in a row as one line', () => {
    const log = new RunLog().assigned(1, 1, 'west').committed(1, 20).checkpoint(20).committed(21, 23);
    log.add(
      {
        kind: 'workerLost',
        time: timeAt(23),
        generation: 1,
        rank: 1,
        workerId: 'w1',
        hostName: 'west',
        reason: 'it left',
      },
      {
        kind: 'requeued',
        time: timeAt(23),
        reason: 'it left its workers to run urgent after step 23',
        yieldedTo: 'urgent',
      },
      { kind: 'checkpointWritten', time: timeAt(23), step: 23, directory: '/step-23', stallSeconds: 0.042 },
      { kind: 'attemptFailed', time: timeAt(24), step: 23, failure, attempt: 1, maxAttempts: 3, retryAt: timeAt(30) },
      { kind: 'failed', time: timeAt(25), step: 23, failure },
    );
    expect(Timeline.of(log.records).map(({ text }) => text)).toEqual([
      'launched: 60 steps on 2 workers',
      'generation 1 began at step 1 on 2 workers (west), afresh',
      'trained steps 1 to 20 in 38s, loss 5.7143 to 3.0000',
      'checkpoint of step 20 saved',
      'trained steps 21 to 23 in 4s, loss 2.9268 to 2.7907',
      'rank 1 (w1 on west) was lost: it left',
      'queued: it left its workers to run urgent after step 23',
      'checkpoint of step 23 saved, training stood still for 0.04 s',
      'attempt 1 of 3 failed: the engine choked',
      'failed: the engine choked',
    ]);
  });
});
