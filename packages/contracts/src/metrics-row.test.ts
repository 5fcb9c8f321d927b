import { describe, expect, it } from 'vitest';
import { committedAtMs, parseMetricsRow } from './metrics-row.js';

const layer = {
  layer: 3,
  tokens: 20,
  routed: [30, 10],
  dropped: [5, 0],
  droppedShare: 0.125,
  imbalance: 1.5,
  routerEntropy: 0.5,
  loadBalanceLoss: 1.25,
  routerZLoss: 2,
};
const row = {
  step: 7,
  loss: 4.5,
  learningRate: 0.001,
  gradNorm: 1.5,
  tokensPerSecond: 1000,
  sequences: { captioned: 4, interleaved: 4, text: 1 },
  seconds: { data: 0, compute: 1, communication: 0.5, apply: 0.1 },
  heldOut: { loss: 4.75, sources: { captioned: 4, interleaved: 5, text: null }, seconds: 2 },
  taskScores: {
    scores: { coco: { '0': 70.5, '8': 110 }, words: { '0': null } },
    average: { '0': 70.5, '8': 110 },
    textAverage: { '0': null },
    seconds: 5,
  },
  moe: { layers: [layer], bytesSent: 1, bytesReceived: 2, waitingSeconds: 0.25 },
  generation: 2,
  time: '2026-11-23T05:58:00.000Z',
};

describe('a row of metrics.jsonl', () => {
  it('is read as it was written', () => {
    expect(parseMetricsRow(JSON.stringify(row))).toEqual(row);
    expect(committedAtMs(row)).toBe(Date.parse(row.time));
  });

  it('of an older version has `experts`, with the imbalance of all layers beside them', () => {
    const { imbalance, tokens, ...older } = layer;
    const experts = { ...row.moe, layers: [older], imbalance: [imbalance] };
    const { moe } = parseMetricsRow(JSON.stringify({ step: 1, experts })) ?? {};
    expect(moe?.layers).toEqual([{ ...layer, tokens: 0 }]);
    expect(parseMetricsRow('{"step":1,"experts":{"layers":[7]}}')?.moe?.layers[0]?.routed).toEqual([]);
  });

  it('without its report has nulls, and a torn line is no row', () => {
    const bare = parseMetricsRow('{"step":3,"loss":null,"generation":1}');
    expect(bare).toMatchObject({ step: 3, loss: null, learningRate: null, seconds: { compute: null }, time: '' });
    expect(committedAtMs(bare!)).toBe(0);
    for (const line of ['', '{"step":3', '[3]', '{"loss":1}']) expect(parseMetricsRow(line)).toBeUndefined();
  });
});
