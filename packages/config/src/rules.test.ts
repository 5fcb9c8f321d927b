import { describe, expect, it } from 'vitest';
import { resolveRunConfig } from './resolve.js';
import { smallestRun } from './testing/smallest-run.js';

const launch = (moe: object | null, changes: object = {}) =>
  resolveRunConfig({
    ...smallestRun,
    model: { ...smallestRun.model, decoder: { ...smallestRun.model.decoder, moe } },
    ...changes,
  });
const moe = { experts: 4, everyLayers: 2 };

describe('expert workers', () => {
  it('hold between one expert and all of them', () => {
    expect(launch(moe).expertWorkers).toBe(0);
    expect(launch(moe, { expertWorkers: 4 })).toMatchObject({ expertWorkers: 4, microbatchesInFlight: 2 });
    expect(() => launch(moe, { expertWorkers: 5 })).toThrow(
      'expertWorkers is 5, but must be at most model.decoder.moe.experts (4): every expert worker holds at least one',
    );
  });

  it('are refused where there are no experts, and where nothing can wait for them', () => {
    expect(() => launch(null, { expertWorkers: 1 })).toThrow('expertWorkers is 1, but model.decoder.moe is null');
    expect(() => launch(moe, { expertWorkers: 1, engine: { backend: 'javascript' } })).toThrow(
      'expertWorkers is above 0, but engine.backend javascript cannot wait for experts in mid-layer',
    );
  });
});
