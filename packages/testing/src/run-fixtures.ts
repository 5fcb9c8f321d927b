import type { MetricsRow, MoeLayerStats, RunView } from '@weft/contracts';

/** A run in the middle of its life; tests change what they are about. */
export function exampleRun(changes: Partial<RunView> = {}): RunView {
  return {
    runId: 'debug-tiny-20261123-0558-k3f9',
    recipe: 'debugTiny',
    status: 'running',
    reason: 'every worker is ready',
    step: 0,
    steps: 60,
    workers: 2,
    worldSize: 2,
    generation: 1,
    checkpointStep: 0,
    directory: '/home/weft/runs/debug-tiny-20261123-0558-k3f9',
    createdAtMs: 1_000_000,
    updatedAtMs: 1_000_000,
    priority: 0,
    queuePosition: null,
    expectedStartMs: null,
    parent: null,
    failure: null,
    loss: null,
    failedAttempts: 0,
    maxAttempts: 1,
    ...changes,
  };
}

/** What the experts of one layer did in a step. */
export function exampleMoeLayer(changes: Partial<MoeLayerStats> = {}): MoeLayerStats {
  return {
    layer: 1,
    tokens: 20,
    routed: [30, 10],
    dropped: [5, 0],
    droppedShare: 0.125,
    imbalance: 1.5,
    routerEntropy: 0.5,
    loadBalanceLoss: 1.25,
    routerZLoss: 2,
    ...changes,
  };
}

/** When step `step` of the example run was committed. */
export const timeMsOfStep = (step: number) => 1_000_000 + step * 2000;

/** Step `step` of a run whose loss falls and whose steps take two seconds each. */
export function exampleStep(step: number, changes: Partial<MetricsRow> = {}): MetricsRow {
  return {
    step,
    loss: 6 / (1 + step / 20),
    learningRate: 0.001,
    gradNorm: 1.5,
    tokensPerSecond: 512,
    sequences: { captioned: 4, interleaved: 3, text: 1 },
    seconds: { data: 0.1, compute: 1.6, communication: 0.2, apply: 0.1 },
    generation: 1,
    time: new Date(timeMsOfStep(step)).toISOString(),
    ...changes,
  };
}
