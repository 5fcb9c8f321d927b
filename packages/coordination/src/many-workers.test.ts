import { describe, expect, it, vi } from 'vitest';
import { decide } from './decide.js';
import { DecideHarness, RUN } from './testing/decide-harness.js';
import { WorkerTable } from './worker-table.js';

const ids = Array.from({ length: 300 }, (_, at) => `w${at}`);

/** A cluster in which one run trains on all workers. */
function training(): DecideHarness {
  const harness = new DecideHarness();
  harness.connect(...ids);
  harness.launch({ workers: ids.length, globalBatchSize: ids.length, steps: 100 });
  expect(harness.members).toHaveLength(ids.length);
  return harness;
}

/** How many workers decisions look at while `work` goes on. */
function workersSeen(work: () => void): number {
  let seen = 0;
  const values = WorkerTable.prototype.values;
  const group = WorkerTable.prototype.group;
  const spies = [
    vi.spyOn(WorkerTable.prototype, 'values').mockImplementation(function (this: WorkerTable) {
      const found = values.call(this);
      seen += found.length;
      return found;
    }),
    vi.spyOn(WorkerTable.prototype, 'group').mockImplementation(function (this: WorkerTable, name) {
      const found = group.call(this, name);
      seen += found.length;
      return found;
    }),
  ];
  work();
  for (const spy of spies) spy.mockRestore();
  return seen;
}

describe('with many workers', () => {
  it('a vote, a new worker and a lost idle one are decided without a look at the others', () => {
    const harness = training();
    // The first idle one is told who the members are: it becomes the spare, whom descriptions of the run name.
    harness.connect('spare');
    const few = 5;
    expect(workersSeen(() => harness.vote('w7'))).toBeLessThan(few);
    expect(workersSeen(() => harness.connect('new'))).toBeLessThan(few);
    expect(workersSeen(() => harness.disconnect('new'))).toBeLessThan(few);
  });

  it('ticks look only at those that have been silent', () => {
    const harness = training();
    const seen = workersSeen(() => {
      for (let i = 0; i < 300; i++) harness.advance(100, ...(i % 20 === 0 ? ids : []));
    });
    expect(harness.state.workers.size).toBe(ids.length);
    expect(seen).toBe(0);
  });

  it('one that was silent for too long is lost, whenever the others were heard', () => {
    const harness = training();
    const others = ids.filter((id) => id !== 'w7');
    harness.advance(4000, ...ids);
    const sinceMs = harness.nowMs;
    while (harness.state.workers.has('w7')) harness.advance(100, ...others);
    expect(harness.nowMs - sinceMs).toBe(harness.state.timeouts.heartbeatTimeoutMs + 100);
    expect(harness.state.workers.size).toBe(others.length);
    expect(harness.log.at(-1)).toMatchObject({ kind: 'workerLost', workerId: 'w7' });
  });

  it('a state from which a decision went on is still as it was', () => {
    const harness = training();
    const { state, nowMs } = harness;
    decide(nowMs, state, { kind: 'workerDisconnected', workerId: 'w7', reason: 'its stream ended' });
    expect(state.workers.has('w7')).toBe(true);
    expect(state.runs.get(RUN)?.live).toMatchObject({ state: 'training', generation: 1 });
  });
});
