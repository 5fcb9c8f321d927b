import { WeftError } from '@weft/common';
import type { HeldOutLoss } from '@weft/contracts';
import type { CheckpointSaver } from './checkpoint-saver.js';
import type { GenerationPlan, TrainOutcome, TrainSignals } from './ports.js';
import { isEvaluated, isOver, isSaved, outcomeOf } from './run-end.js';
import { type StepParts, type StepResult, trainStep } from './train-step.js';

export interface LoopOptions extends StepParts {
  readonly plan: GenerationPlan;
  readonly signals: TrainSignals;
  readonly saver: CheckpointSaver;
  /** Measures the held-out loss of the model as it stands after this step; every rank takes part. */
  readonly heldOut: (step: number) => Promise<HeldOutLoss>;
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
  // The generation before lost a rank between its last step and that step's checkpoint: only the saving is left.
  if (isOver(config, signals, done) && plan.state.kind === 'keep') await saver.save(done, plan, link);
  while (!isOver(config, signals, done)) {
    if (signals.released.aborted) throw new WeftError('cancelled', `generation ${plan.generation} was released`);
    const step = done + 1;
    const result = await trainStep(options, step);
    done = step;
    options.onStep(result);
    await report(options, result);
    if (isSaved(config, signals, done)) await saver.save(step, plan, link);
  }
  await saver.settled();
  return outcomeOf(config, done);
}

/**
 * Rank 0's report of a step waits for the held-out loss where one is due. A ring that breaks meanwhile costs that loss,
 * not the report.
 */
async function report({ config, plan, link, heldOut }: LoopOptions, { report }: StepResult): Promise<void> {
  const send = (measured: HeldOutLoss | undefined) => {
    if (plan.rank === 0) link.report({ ...report, heldOut: measured });
  };
  if (!isEvaluated(config, report.step)) return send(undefined);
  try {
    send(await heldOut(report.step));
  } catch (thrown) {
    send(undefined);
    throw thrown;
  }
}
