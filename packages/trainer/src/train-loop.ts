import { WeftError } from '@weft/common';
import type { CheckpointSaver } from './checkpoint-saver.js';
import type { GenerationPlan, TrainOutcome, TrainSignals } from './ports.js';
import { type StepParts, type StepResult, trainStep } from './train-step.js';

export interface LoopOptions extends StepParts {
  readonly plan: GenerationPlan;
  readonly signals: TrainSignals;
  readonly saver: CheckpointSaver;
  /** Told of every decided step, on every rank. */
  readonly onStep: (result: StepResult) => void;
}

/**
 * Trains from the plan's first step until the run's last one, or the one it is asked to stop after, and returns
 * when this rank's last checkpoint part is on disk.
 * @throws WeftError `cancelled` when the generation is released, `unavailable` when the ring breaks.
 */
export async function trainLoop(options: LoopOptions): Promise<TrainOutcome> {
  const { config, link, plan, saver, signals } = options;
  let done = plan.firstStep - 1;
  const isOver = () => done >= config.steps || isAsked(signals, done);
  // The generation before lost a rank between its last step and that step's checkpoint: only the saving is left.
  if (isOver() && plan.state.kind === 'keep') await saver.save(done, plan, link);
  while (!isOver()) {
    if (signals.released.aborted) throw new WeftError('cancelled', `generation ${plan.generation} was released`);
    const step = done + 1;
    const result = await trainStep(options, step);
    done = step;
    options.onStep(result);
    if (plan.rank === 0) link.report(result.report);
    if (step % config.checkpoint.everySteps === 0 || isOver()) await saver.save(step, plan, link);
  }
  await saver.settled();
  return { outcome: done >= config.steps ? 'finished' : 'stopped', step: done };
}

function isAsked({ stop }: TrainSignals, done: number): boolean {
  return stop.afterStep !== undefined && done >= stop.afterStep;
}
