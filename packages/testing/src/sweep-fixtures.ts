import type { RunView } from '@weft/contracts';
import { type PlannedRun, type SweepRun, sweepRun } from '@weft/sweeps';
import { exampleRun, exampleStep } from './run-fixtures.js';

/** A line of the file: a scale by the width of its decoder. */
export function exampleSweepScale(name: string, width: number): string {
  return `  - { name: ${name}, run: { model: { decoder: { width: ${width}, feedForwardWidth: ${3 * width} } } } }`;
}

/** The file of a sweep: five learning rates at three scales, 15 runs of 20 steps. */
export const exampleSweep = `name: demo
recipe: debugNano
run: { steps: 20 }
scales:
${exampleSweepScale('small', 16)}
${exampleSweepScale('middle', 32)}
${exampleSweepScale('large', 64)}
learningRates: [1.0e-3, 2.0e-3, 4.0e-3, 8.0e-3, 1.6e-2]
seeds: [1]
lastSteps: 1
`;

/** A run of the plan that came to a loss. */
export function endedSweepRun(planned: PlannedRun, loss: number | null, changes: Partial<RunView> = {}): SweepRun {
  const view = exampleRun({ status: 'finished', step: 20, steps: 20, runId: `run-${planned.key}`, ...changes });
  const metrics = Array.from({ length: view.step }, (_, i) => exampleStep(i + 1, { loss }));
  return sweepRun(planned, view, metrics, { metric: 'trainingLoss', lastSteps: 1 });
}

/** Losses around a best learning rate of factor·0.02·(N/6736)^−0.2. */
export function exampleSweepLoss({ params, learningRate }: PlannedRun, factor = 0.2): number {
  return 2 + 0.1 * Math.log(learningRate / (factor * 0.02 * (params / 6736) ** -0.2)) ** 2;
}
