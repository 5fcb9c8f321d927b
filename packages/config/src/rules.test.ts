import { describe, expect, it } from 'vitest';
import { resolveRunConfig } from './resolve.js';

const launch = (moe: object | null, changes: object = {}) =>
  resolveRunConfig({
    steps: 60,
    globalBatchSize: 8,
    model: {
      sequenceLength: 128,
      vision: { imageSize: 32, patchSize: 8, width: 64, depth: 1, heads: 4, feedForwardWidth: 256 },
      connector: { tokensPerImage: 4 },
      decoder: { width: 128, depth: 2, heads: 4, feedForwardWidth: 384, moe },
    },
    data: { directory: 'data' },
    optimizer: { learningRate: 3e-4 },
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
