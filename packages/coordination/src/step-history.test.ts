import { describe, expect, it } from 'vitest';
import { stepHistory } from './step-history.js';
import { DecideHarness, RUN } from './testing/decide-harness.js';

describe('the history of a step', () => {
  it('is the steps, checkpoints and settings that led to it, also when the run went back before it', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch({ steps: 500, divergence: { policy: 'rollback', patienceSteps: 2, rollbackSteps: 1 } });
    harness.train(40);
    harness.checkpoint(38);
    for (const loss of [900, 901]) for (const worker of ['a', 'b']) harness.vote(worker, { loss });
    const found = { checkpoint: { step: 38, directory: '/step-38' }, skipped: [] };
    harness.handle({ kind: 'checkpointFound', runId: RUN, found });
    harness.train(8);
    harness.checkpoint(46);
    harness.train(2);

    const spike = stepHistory(harness.log, 41);
    expect(spike).toMatchObject({
      step: { entry: { step: 41, loss: 900 }, spike: { of: 'loss' } },
      checkpoints: [{ step: 38 }],
      wasRolledBack: true,
      config: { data: { skippedBatches: [] } },
    });
    expect(spike?.before.map(({ entry }) => entry.step)).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
    expect(spike?.workers.map(({ workerId }) => workerId)).toEqual(['a', 'b']);
    expect(spike?.recent.losses).toHaveLength(40);

    const later = stepHistory(harness.log, 47);
    expect(later).toMatchObject({
      checkpoints: [{ step: 46 }, { step: 38 }],
      wasRolledBack: false,
      config: { data: { skippedBatches: [{ first: 41, end: 43 }] } },
    });
    expect(later?.before).toHaveLength(46);
    expect(stepHistory(harness.log, 400)).toBeUndefined();
  });
});
