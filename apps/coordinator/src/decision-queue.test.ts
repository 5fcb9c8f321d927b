import { systemClock, WeftError } from '@weft/common';
import { resolveRunConfig } from '@weft/config';
import { initialCluster, type WorkerIdentity } from '@weft/coordination';
import { describe, expect, it } from 'vitest';
import { DecisionQueue } from './decision-queue.js';
import { launchRequest } from './testing/open-coordinator.js';

const config = resolveRunConfig(JSON.parse(launchRequest().configJson));
const launch = (runId: string) => ({ kind: 'launch', runId, config, weftVersion: '0.1.0' }) as const;
const worker: WorkerIdentity = {
  workerId: 'a',
  hostName: 'h',
  processId: 1,
  dataPlaneAddress: 'a:1',
  device: '',
  role: 'rank',
  bf16Backends: [],
};

/** A queue that notes what it is made to do, in order. */
function noting(append: () => Promise<void> = async () => {}) {
  const notes: string[] = [];
  const queue = new DecisionQueue({
    clock: systemClock,
    state: initialCluster(),
    lookups: {},
    append: async (records) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      await append();
      for (const { record } of records) notes.push(`wrote ${record.kind}`);
    },
    execute: async ({ commands }) => {
      for (const { kind } of commands) notes.push(`did ${kind}`);
    },
  });
  return { queue, notes };
}

describe('the queue of decisions', () => {
  it('writes a decision down before it acts, and takes the next event after that', async () => {
    const { queue, notes } = noting();
    await Promise.all([
      queue.submit({ kind: 'workerConnected', worker }),
      queue.submit({ kind: 'workerConnected', worker: { ...worker, workerId: 'b' } }),
      queue.submit(launch('x')),
      queue.submit({ kind: 'stop', runId: 'x', saveCheckpoint: false }),
    ]);
    expect(notes).toEqual([
      'wrote launched',
      'wrote assigned',
      'did writeConfig',
      'did enqueue',
      'did takeJob',
      'did assign',
      'wrote stopped',
      'did release',
      'did cancelJob',
    ]);
  });

  it('has decided nothing when the records cannot be written', async () => {
    let isBroken = true;
    const { queue, notes } = noting(async () => {
      if (isBroken) throw new WeftError('unavailable', 'the disk is full');
    });
    await expect(queue.submit(launch('x'))).rejects.toThrow('the disk is full');
    expect(queue.state.runs.size).toBe(0);
    expect(notes).toEqual([]);
    isBroken = false;
    await queue.submit(launch('x'));
    expect([...queue.state.runs.keys()]).toEqual(['x']);
  });

  it('goes on after an event that was refused', async () => {
    const { queue } = noting();
    await expect(queue.submit({ kind: 'stop', runId: 'nope', saveCheckpoint: true })).rejects.toThrow('no run "nope"');
    await queue.submit(launch('x'));
    expect(queue.state.runs.size).toBe(1);
  });
});
