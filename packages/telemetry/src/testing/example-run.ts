import { noTime } from '@weft/contracts';
import type { RunSnapshot } from '../run-metrics.js';

/** A run with every measurement there is. */
export function exampleRun(changes: Partial<RunSnapshot> = {}): RunSnapshot {
  const layer = { layer: 1, tokens: 4, routed: [3, 5], dropped: [0, 2], droppedShare: 0.25, imbalance: 1.25 };
  const router = { routerEntropy: 1.5, loadBalanceLoss: 1.1, routerZLoss: 3 };
  const heldOut = { loss: 2.75, sources: { captioned: 2.5, interleaved: 3, text: null }, seconds: 1 };
  const taskScores = { scores: { coco: { '8': 110.5 } }, average: {}, textAverage: {}, seconds: 1 };
  return {
    runId: 'tiny-1',
    recipe: 'mm1Tiny',
    status: 'running',
    step: 7,
    steps: 100,
    workers: 2,
    worldSize: 2,
    generation: 3,
    latest: {
      step: 7,
      loss: 2.25,
      learningRate: 3e-4,
      gradNorm: 1.25,
      tokensPerSecond: 2048,
      mfu: 0.5,
      sourceLoss: { captioned: 2, text: null },
      sequences: { captioned: 4, interleaved: 3, text: 1 },
      seconds: { data: 0.1, compute: 1, communication: 0.2, apply: 0.1 },
      moe: { layers: [{ ...layer, ...router }], bytesSent: 1, bytesReceived: 1, waitingSeconds: 0 },
      generation: 3,
      time: '2026-01-01T00:00:00.000Z',
    },
    heldOut,
    taskScores,
    sequences: { captioned: 28, interleaved: 21, text: 7 },
    plannedSequences: { captioned: 400, interleaved: 300, text: 100 },
    weights: { captioned: 4, interleaved: 3, text: 1 },
    tokens: 7168,
    checkpoint: { step: 5, atMs: 1_700_000_000_000, seconds: 0.5, bytes: 4096 },
    counts: {
      committed: 9,
      skipped: 1,
      spikes: 3,
      lossTokens: 900,
      workersLost: 1,
      ringFailures: 2,
      waitedForSeconds: [0, 1.5],
      experts: new Map([[1, { routed: [30, 50], dropped: [0, 20] }]]),
    },
    time: { ...noTime(), computing: 12, waitingForStraggler: 1.5 },
    goodput: 0.8,
    etaSeconds: 93,
    medianStepSeconds: 1,
    checkpointIntervalSeconds: 20,
    cost: 1.25,
    queuePosition: 2,
    queueWaitSeconds: 4,
    arrivalSeconds: [0, 0.25],
    ...changes,
  };
}
