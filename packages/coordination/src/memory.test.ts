import { expect, it } from 'vitest';
import type { ShortageOf } from './cluster-state.js';
import { decide } from './decide.js';
import { describeRun } from './describe.js';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';
import { tinyConfig } from './testing/tiny-config.js';

/** Workers named "small…" cannot hold runs of more than six steps. */
const shortageOf: ShortageOf = ({ steps }, { workerId }) =>
  workerId.startsWith('small') && steps > 6 ? { message: '1 GiB of memory, and needs 2', hint: 'cut it' } : undefined;

function harness(): DecideHarness {
  const cluster = new DecideHarness();
  cluster.shortageOf = shortageOf;
  return cluster;
}

it('a launch that the connected workers cannot hold is refused, and nothing is left of it', () => {
  const cluster = harness();
  cluster.connect('small1', 'big1');
  expect(() => cluster.launch({ steps: 7 })).toThrow(
    'the run does not fit: worker small1 on host has 1 GiB of memory, and needs 2, and of 2 workers only 1 can hold it',
  );
  expect(cluster.state.runs.size).toBe(0);
  expect(cluster.commands).toEqual([]);
  cluster.launch({ steps: 6 });
  expect(cluster.members).toEqual(['small1', 'big1']);
});

it('a run of a sweep is not refused, because the sweep is launched whole; it waits for larger workers', () => {
  const cluster = harness();
  cluster.connect('small1', 'small2');
  const event = {
    kind: 'launch',
    runId: RUN,
    config: tinyConfig({ steps: 7 }),
    weftVersion: '0.1.0',
    parent: 'lr-1',
  } as const;
  const { state } = decide(cluster.nowMs, cluster.state, event, { shortageOf });
  expect(describeRun(state, RUN)).toMatchObject({
    status: 'queued',
    reason: expect.stringContaining('workers with more memory'),
  });
});

it('a queued run takes only workers that can hold it, and none is kept idle for it meanwhile', () => {
  const cluster = harness();
  cluster.connect('small1');
  cluster.launch({ steps: 7 });
  cluster.connect('small2');
  expect(cluster.view()).toMatchObject({
    status: 'queued',
    reason:
      'it was launched; it waits for workers with more memory: worker small1 on host has 1 GiB of memory, and needs 2; cut it',
  });
  cluster.launch({ steps: 5 }, 'tiny-2');
  expect(cluster.membersOf('tiny-2')).toEqual(['small1', 'small2']);
  cluster.connect('big1', 'big2');
  expect(cluster.members).toEqual(['big1', 'big2']);
});

it('an important run that no worker can hold preempts nobody', () => {
  const cluster = harness();
  cluster.connect('small1', 'small2');
  cluster.launch({ steps: 6 }, 'tiny-2');
  cluster.disconnect('small2');
  cluster.advance(400, 'small1');
  cluster.launch({ steps: 7, queue: { priority: 5 } });
  cluster.connect('small3');
  expect(cluster.view().reason).toContain('it waits for workers with more memory');
  expect(cluster.view('tiny-2').reason).not.toContain('leaves them');
});

it('a resume that the workers cannot hold is refused, and so are too small expert workers', () => {
  const cluster = harness();
  cluster.connect('small1', 'small2');
  cluster.launch();
  cluster.train(2);
  cluster.stop(false);
  expect(() => cluster.resume(NO_CHECKPOINT, { steps: 9, fromStep: 0 })).toThrow(/the run does not fit: worker small1/);
  expect(cluster.view().status).toBe('stopped');
  cluster.resume(NO_CHECKPOINT, { steps: 6, fromStep: 0 });
  expect(cluster.view().status).toBe('running');
});
