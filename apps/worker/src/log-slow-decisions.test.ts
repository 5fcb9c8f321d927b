import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { logSlowDecisions } from './log-slow-decisions.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('a rank that a decision keeps waiting says so, again after a while, and when it goes on', async () => {
  const said: string[] = [];
  const note = (_: object, sentence: string) => void said.push(sentence);
  let decide = (_: { apply: boolean }) => {};
  const decided = new Promise<{ apply: boolean }>((resolve) => {
    decide = resolve;
  });
  const log = { warn: note, info: note } as unknown as Parameters<typeof logSlowDecisions>[1];
  const link = logSlowDecisions({ vote: () => decided, report: () => {}, checkpointPart: () => {} }, log);
  const vote = { step: 7, loss: 1, gradNorm: 1, finite: true, sequenceDigest: '', lossTokens: 1 };
  const voted = link.vote(vote as unknown as Parameters<typeof link.vote>[0]);
  await vi.advanceTimersByTimeAsync(66_000);
  decide({ apply: true });
  expect(await voted).toEqual({ apply: true });
  await vi.advanceTimersByTimeAsync(100_000);
  expect(said).toEqual([
    'step 7 is done and waits for the coordinator to decide it, 5 s so far',
    'step 7 is done and waits for the coordinator to decide it, 65 s so far',
    'step 7 is decided after 66 s: going on',
  ]);
});
