import { describe, expect, it } from 'vitest';
import { bestIntervalMs, learnStall, NO_COSTS } from './checkpoint-schedule.js';
import { DecideHarness, RUN } from './testing/decide-harness.js';

const HOUR_MS = 3_600_000;

describe('the best time between checkpoints', () => {
  it("is Young's and Daly's of the stall and of the failures there were", () => {
    const costs = { ...NO_COSTS, stallSeconds: 2, interruptions: 9, trainedMs: 1000 * HOUR_MS };
    // So many hours of workers that the assumption counts for nothing: one interruption in 100 hours.
    const intervalMs = bestIntervalMs({ ...costs, trainedMs: 1000 * HOUR_MS }, 1_000_000);
    expect(intervalMs).toBeCloseTo(Math.sqrt(2 * 2000 * 100 * HOUR_MS) - 2000, -3);
  });

  it('is longer where saving costs more, and shorter where more is lost or more workers may be', () => {
    const usual = bestIntervalMs({ ...NO_COSTS, stallSeconds: 0.5 }, 8);
    expect(bestIntervalMs({ ...NO_COSTS, stallSeconds: 5 }, 8)).toBeGreaterThan(usual);
    expect(bestIntervalMs({ ...NO_COSTS, stallSeconds: 0.5, interruptions: 20 }, 8)).toBeLessThan(usual);
    expect(bestIntervalMs({ ...NO_COSTS, stallSeconds: 0.5 }, 8000)).toBeLessThan(usual);
    expect(bestIntervalMs({ ...NO_COSTS, interruptions: 1e9 }, 1e6)).toBe(30_000);
  });

  it('learns what a save costs, and forgets a single slow one', () => {
    expect(learnStall(undefined, 2)).toBe(2);
    expect(learnStall(2, undefined)).toBe(2);
    expect(learnStall(1, 2)).toBeCloseTo(1.3);
  });
});

describe('a run that saves by the time', () => {
  const saves = (harness: DecideHarness) =>
    harness.commandsOf('decideStep').map(({ step, save = false }) => [step, save]);
  const begin = (everyMinutes: number | 'auto') => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch({ steps: 1000, checkpoint: { everySteps: 500, everyMinutes, keepLast: 2 } });
    return harness;
  };
  const minute = (harness: DecideHarness) => {
    harness.advance(60_000, 'a', 'b');
    harness.train(1);
  };

  it('saves the first step after so many minutes, on every rank, and then waits as long again', () => {
    const harness = begin(2);
    for (let step = 1; step <= 3; step++) minute(harness);
    expect(saves(harness)).toEqual([
      [1, false],
      [2, true],
      [3, false],
    ]);
    expect(harness.reason).toBe('step 3 of run tiny-1 is committed');
    minute(harness);
    expect(harness.reason).toContain('it is saved, because its last checkpoint is 2 min old');
  });

  it('asks again in a new generation, where the save before may be lost', () => {
    const harness = begin(2);
    minute(harness);
    minute(harness);
    harness.disconnect('b');
    harness.advance(1000, 'a');
    harness.train(1);
    expect(saves(harness).at(-1)).toEqual([3, true]);
  });

  it('learns from its log what to wait for', () => {
    const harness = begin('auto');
    minute(harness);
    expect(saves(harness)).toEqual([[1, false]]);
    for (const workerId of ['a', 'b']) {
      const files = [{ name: workerId, bytes: 1, sha256: '' }];
      const stallSeconds = workerId === 'a' ? 0.1 : 0.4;
      const part = { kind: 'partSaved', workerId, runId: RUN, generation: 1, step: 1, files, stallSeconds } as const;
      harness.handle(part);
    }
    const written = { kind: 'manifestWritten', workerId: 'a', runId: RUN, generation: 1, step: 1 } as const;
    harness.handle({ ...written, directory: '/step-1', manifestSha256: 'f00' });
    expect(harness.log.at(-1)).toMatchObject({ kind: 'checkpointWritten', stallSeconds: 0.4, manifestSha256: 'f00' });
    const { state } = harness.state.runs.get(RUN)!;
    expect(state.saveCosts).toMatchObject({ stallSeconds: 0.4, interruptions: 0, trainedMs: 60_000 });
    harness.disconnect('a', 'b');
    expect(harness.state.runs.get(RUN)?.state.saveCosts.interruptions).toBe(1);
    expect(harness.lastCommand('findCheckpoint')?.known).toEqual([
      { step: 1, directory: '/step-1', manifestSha256: 'f00' },
    ]);
  });

  it('counts no interruption where the workers came back with the state', () => {
    const harness = begin('auto');
    const interruptions = () => harness.state.runs.get(RUN)?.state.saveCosts.interruptions;
    harness.train(2);
    harness.restart('auto');
    expect(interruptions()).toBe(1);
    harness.comeBack('a');
    harness.comeBack('b');
    expect(harness.log.at(-1)?.kind).toBe('continued');
    expect(interruptions()).toBe(0);
    harness.restart('auto');
    harness.comeBack('a');
    harness.advance(10_000, 'a');
    expect(harness.log.at(-1)).toMatchObject({ kind: 'assigned', state: 'keep' });
    expect(interruptions()).toBe(0);
  });
});
