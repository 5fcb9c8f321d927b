import { recipe, recipes } from '@weft/recipes';
import { describe, expect, it } from 'vitest';
import { estimateRun } from './estimates.js';

const parameters = [
  { name: 'vision/patch/kernel', shape: [10, 20] },
  { name: 'connector/projection/kernel', shape: [10, 10] },
  { name: 'decoder/embedding', shape: [10, 20] },
  { name: 'decoder/layers/0/attention/query', shape: [20, 20] },
  { name: 'decoder/norm/scale', shape: [100] },
];

describe('what follows from a configuration', () => {
  it('counts tokens, sequences, microbatches and memory', () => {
    const config = { ...recipe('debugTiny'), globalBatchSize: 9, workers: 2, microbatchSize: 2, steps: 10 };
    expect(estimateRun(config, parameters)).toMatchObject({
      tokensPerStep: 9 * 128,
      tokensTotal: 9 * 128 * 10,
      sequencesPerStep: { captioned: 4, interleaved: 4, text: 1 },
      sequencesTotal: { captioned: 40, interleaved: 40, text: 10 },
      sequencesPerRank: 5,
      microbatchesPerRank: 3,
      weightsBytes: 4000,
      optimizerBytes: 8000,
      residentBytes: 16_000,
      // 2 sequences: 128 positions in 4 layers of width 128, 8 images of 16 patches in 2 layers of width 96.
      blockInputBytes: 4 * 2 * (128 * 4 * 128 + 8 * 16 * 2 * 96),
      checkpointBytes: 12_000,
      ringBytesPerStep: 4000,
      decoderFlops: 6 * 500 * 9 * 128 * 10,
    });
    expect(estimateRun({ ...config, workers: 1 }, parameters).ringBytesPerStep).toBe(0);
  });

  it('shows the size and the traffic of experts, in the ranks or in processes of their own', () => {
    const rest = parameters.filter(({ shape }) => shape[1] !== 20 || shape[0] !== 20);
    const stack = { name: 'decoder/layers/1/experts/up', shape: [8, 4, 10] };
    const sparse = [...rest, { name: 'decoder/layers/0/attention/query', shape: [4, 20] }, stack];
    const local = { ...recipe('moeTiny'), steps: 10 };
    expect(estimateRun(local, sparse)).toMatchObject({
      weightsBytes: 4000,
      checkpointBytes: 12_000,
      decoderFlops: 6 * (500 - 240) * 8 * 128 * 10,
      experts: { layers: 2, perLayer: 8, slotsPerMicrobatch: 8 * 64, hosts: null },
    });
    const remote = estimateRun({ ...local, expertWorkers: 3 }, sparse);
    expect(remote).toMatchObject({ weightsBytes: 680 * 4, checkpointBytes: 12_000, residentBytes: 16 * 680 });
    // Three of eight experts at most; two choices of every token and layer, four ways, 128 numbers of 4 bytes.
    expect(remote.experts?.hosts).toEqual({
      mostExperts: 3,
      residentBytes: 320 * (3 / 8) * 16,
      rowsPerStep: 2 * 8 * 128 * 2,
      bytesPerStep: 2 * 8 * 128 * 2 * 4 * 128 * 4,
    });
  });

  it('counts what AdaFactor keeps, and only weights of what is frozen', () => {
    const debugTiny = recipe('debugTiny');
    const withOptimizer = (change: object) => ({ ...debugTiny, optimizer: { ...debugTiny.optimizer, ...change } });
    // Rows and columns of four matrices, and a vector.
    expect(estimateRun(withOptimizer({ kind: 'adafactor' }), parameters)).toMatchObject({
      gradientsBytes: 4000,
      optimizerBytes: 4 * (30 + 20 + 30 + 40 + 100),
      checkpointBytes: 4000 + 4 * 220,
    });
    expect(estimateRun(withOptimizer({ learningRateFactors: { vision: 0 } }), parameters)).toMatchObject({
      ...{ weightsBytes: 4000, gradientsBytes: 3200, optimizerBytes: 6400 },
      checkpointBytes: 10_400,
    });
  });

  it('adds up for every recipe', () => {
    for (const name of Object.keys(recipes)) {
      const config = recipe(name);
      const { sequencesTotal, tokensTotal } = estimateRun(config, parameters);
      const sequences = Object.values(sequencesTotal).reduce((sum, count) => sum + count, 0);
      expect(sequences * config.model.sequenceLength, name).toBe(tokensTotal);
    }
  });
});
