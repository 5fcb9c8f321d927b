import type { QueuedView } from '@weft/client';
import { exampleRun } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { queueSentence } from '../runs/describe-run.js';
import { renderQueue } from './queue.js';

const job = (changes: Partial<QueuedView>): QueuedView => ({
  id: 'a-run',
  kind: 'run',
  state: 'waiting',
  position: 1,
  recipe: 'debugTiny',
  priority: 0,
  workers: 2,
  reason: 'it waits for 2 more workers',
  expectedStartMs: null,
  step: 0,
  steps: 60,
  failedAttempts: 0,
  maxAttempts: 1,
  parent: null,
  launchedAtMs: 0,
  ...changes,
});

const rendered = (view: Parameters<typeof renderQueue>[0]) =>
  renderQueue(view, 0, 'weft').map((line) =>
    line
      .map(({ text }) => text)
      .join('')
      .trimEnd(),
  );

describe('weft queue', () => {
  it('lists those at work, then those that wait, with their reasons', () => {
    const jobs = [
      job({
        id: 'at-work',
        state: 'running',
        position: null,
        step: 12,
        reason: 'it trains step 13 of 60 on 2 workers',
      }),
      job({ id: 'next', priority: 5, expectedStartMs: 90_000 }),
      job({
        id: 'sweep',
        kind: 'sweep',
        state: 'waiting for its runs',
        position: null,
        recipe: 'sweep',
        reason: 'some of its runs have not ended',
      }),
    ];
    expect(rendered({ isPaused: false, workersConnected: 2, workersIdle: 0, jobs })).toEqual([
      'position  run      recipe     priority  workers   step  state                 starts           because',
      '          at-work  debugTiny         0        2  12/60  running                                it trains step 13 of 60 on 2 workers',
      '       1  next     debugTiny         5        2   0/60  waiting               in about 1m 30s  it waits for 2 more workers',
      '          sweep    sweep             0                  waiting for its runs                   some of its runs have not ended',
      '2 workers, 0 idle; 1 run waits.',
    ]);
  });

  it('says first that it is paused, and how that ends', () => {
    expect(rendered({ isPaused: true, workersConnected: 1, workersIdle: 1, jobs: [] })).toEqual([
      'The queue is paused: nothing starts until weft queue resume',
      '1 worker, 1 idle; 0 runs wait.',
    ]);
  });
});

describe('weft launch on a busy cluster', () => {
  it('says the position of the run, and its start where that is known', () => {
    const waiting = exampleRun({ status: 'queued', queuePosition: 3, reason: 'it was launched' });
    expect(queueSentence(waiting, 0)).toBe('It is number 3 in the queue: it was launched.');
    expect(queueSentence({ ...waiting, expectedStartMs: 3_600_000 }, 0)).toBe(
      'It is number 3 in the queue and starts in about 1h 00m: it was launched.',
    );
    expect(queueSentence({ ...waiting, queuePosition: null }, 0)).toBe('It is queued: it was launched.');
  });
});
