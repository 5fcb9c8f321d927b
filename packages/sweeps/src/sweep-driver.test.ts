import { parseConfigText, resolveSweep } from '@weft/config';
import type { MetricsRow, RunView } from '@weft/contracts';
import { Home } from '@weft/files';
import { recipeInput } from '@weft/recipes';
import { exampleRun, exampleStep, temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { type DriverResult, driveRuns, type SweepPort } from './drive-runs.js';
import { drivenSweep } from './sweep-driver.js';
import { planSweep } from './sweep-plan.js';
import { type SweepRecord, sweepRecord } from './sweep-record.js';

const TEXT = `
name: demo
recipe: debugNano
run: { steps: 20 }
scales:
  - { name: small, run: { model: { decoder: { width: 16, feedForwardWidth: 48 } } } }
learningRates: [1.0e-3, 2.0e-3, 4.0e-3, 8.0e-3]
lastSteps: 1
earlyStop: { afterPart: 0.25, worseBy: 0.1 }
`;

function record(): SweepRecord {
  const sweep = resolveSweep(parseConfigText(TEXT, 'sweep.yaml'));
  const recipe = [{ value: recipeInput('debugNano'), where: () => 'recipe debugNano' }];
  return sweepRecord(planSweep(sweep, recipe, 'sweep.yaml'), new Map());
}

/** Runs of a sweep that do what a test says, and a coordinator that takes what the driver asks. */
class ScriptedSweep {
  readonly record = record();
  readonly stopped: [string, string][] = [];
  readonly notes: string[] = [];
  readonly views: RunView[] = this.record.runs.map((_, i) => exampleRun({ runId: `run-${i}`, steps: 20 }));
  readonly losses = new Map<string, number>();
  result: DriverResult | undefined;
  isCancelled = false;
  /** Called before each look at the runs. */
  onLook: (look: number) => void = () => {};
  #looks = 0;

  /** The run has come to a step with this loss everywhere. */
  set(index: number, changes: Partial<RunView>, loss?: number): void {
    const view = this.views[index];
    if (view === undefined) throw new Error(`there is no run ${index}`);
    this.views[index] = { ...view, ...changes };
    if (loss !== undefined) this.losses.set(view.runId, loss);
  }

  async drive(signal = new AbortController().signal): Promise<void> {
    await using home = await temporaryDirectory();
    await driveRuns(drivenSweep(this.record, new Home(home.path)), this.#port(), signal);
  }

  #port(): SweepPort {
    return {
      runs: async () => {
        this.onLook(++this.#looks);
        return this.isCancelled ? undefined : [...this.views];
      },
      metrics: async ({ runId, step }): Promise<MetricsRow[]> => {
        const loss = this.losses.get(runId) ?? 1;
        return Array.from({ length: step }, (_, i) => exampleStep(i + 1, { loss }));
      },
      stop: async (runId, reason) => {
        this.stopped.push([runId, reason]);
        this.set(Number(runId.slice(4)), { status: 'stopped', reason });
      },
      finish: async (result) => {
        this.result = result;
      },
      note: (sentence) => void this.notes.push(sentence),
    };
  }
}

describe('the driver of a sweep', () => {
  it('gives up a run that is far behind, says why, and concludes when the others have finished', async () => {
    const sweep = new ScriptedSweep();
    const at = (rate: number) => sweep.record.runs.findIndex(({ learningRate }) => learningRate === rate);
    sweep.set(at(1e-3), { status: 'finished', step: 20 }, 2);
    sweep.set(at(2e-3), { status: 'finished', step: 20 }, 2.1);
    sweep.set(at(4e-3), { status: 'finished', step: 20 }, 3);
    sweep.set(at(8e-3), { status: 'running', step: 10 }, 3);
    await sweep.drive();
    expect(sweep.stopped).toEqual([
      [`run-${at(8e-3)}`, 'given up: at step 10 its loss is 50 % above the best of its scale'],
    ]);
    expect(sweep.result).toMatchObject({ law: null, directory: expect.stringContaining(sweep.record.id) });
  });

  it('waits for a failed run until it is resumed', async () => {
    const sweep = new ScriptedSweep();
    for (const index of [0, 1, 2, 3]) sweep.set(index, { status: 'finished', step: 20 }, 2 + index / 10);
    sweep.set(1, { status: 'failed' });
    sweep.onLook = (look) => look === 2 && sweep.set(1, { status: 'finished' });
    await sweep.drive();
    expect(sweep.result).toBeDefined();
    expect(sweep.stopped).toEqual([]);
  });

  it('tries again after a failure of the store, and ends with a sweep that was cancelled', async () => {
    const sweep = new ScriptedSweep();
    sweep.onLook = (look) => {
      if (look === 1) throw new Error('the store is away');
      sweep.isCancelled = true;
    };
    await sweep.drive();
    expect(sweep.notes).toEqual([expect.stringContaining('is tried again in a moment: the store is away')]);
    expect(sweep.result).toBeUndefined();
  });

  it('stops when its coordinator closes', async () => {
    const sweep = new ScriptedSweep();
    const closing = new AbortController();
    sweep.onLook = () => closing.abort();
    await expect(sweep.drive(closing.signal)).rejects.toMatchObject({ code: 'cancelled' });
  });
});
