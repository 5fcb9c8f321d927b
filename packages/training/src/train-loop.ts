import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { HeldOutLoss } from '@weft/contracts';
import type { CheckpointSaver } from './checkpoint-saver.js';
import type { CheckpointPort, GenerationPlan, TrainOutcome, TrainSignals } from './ports.js';
import { type StepParts, type StepResult, trainStep } from './train-step.js';

/** What a rank needs to train a generation. */
export interface LoopOptions extends StepParts, RunStepsOptions {
  readonly config: RunConfig;
  readonly coordinator: StepParts['coordinator'];
  /** Measures the held-out loss of the model after a step; every rank takes part. */
  readonly heldOut: (step: number) => Promise<HeldOutLoss>;
  /** Called after every decided step, on every rank. */
  readonly onStep: (result: StepResult) => void;
}

/**
 * Trains from the plan's first step to the last one of the run, or the one it is asked to stop after, and returns when
 * this rank's last checkpoint part is on disk.
 * @throws WeftError `cancelled` when the generation is released, `unavailable` when the ring breaks.
 */
export function trainLoop(options: LoopOptions): Promise<TrainOutcome> {
  return runSteps(options, async (step, isEvaluated) => {
    const result = await trainStep(options, step);
    // The step is decided. From here on the state in memory is the one after it, whatever else fails.
    options.onStep(result);
    await report(options, result, isEvaluated);
  });
}

/**
 * Rank 0 reports the step, with its held-out loss where one is due. If the ring breaks during the evaluation, the report
 * goes out without it: the step itself is decided.
 */
async function report(
  { plan, coordinator, heldOut }: LoopOptions,
  { report }: StepResult,
  isEvaluated: boolean,
): Promise<void> {
  let measured: HeldOutLoss | undefined;
  try {
    if (isEvaluated) measured = await heldOut(report.step);
  } finally {
    if (plan.rank === 0) coordinator.report({ ...report, heldOut: measured });
  }
}

/** What the loop over the steps needs, on a rank and on an expert worker. */
export interface RunStepsOptions {
  readonly config: Pick<RunConfig, 'steps' | 'checkpoint' | 'evaluation'>;
  readonly coordinator: CheckpointPort;
  readonly plan: GenerationPlan;
  readonly signals: TrainSignals;
  readonly saver: Pick<CheckpointSaver, 'save' | 'settled'>;
}

/**
 * The steps of one generation, on a rank and on an expert worker: take a step, save where a checkpoint is due, stop.
 * @param takeStep takes one step to its decision, and evaluates the model after it where `isEvaluated`
 */
export async function runSteps(
  { config, coordinator, plan, saver, signals }: RunStepsOptions,
  takeStep: (step: number, isEvaluated: boolean) => Promise<void>,
): Promise<TrainOutcome> {
  let done = plan.firstStep - 1;
  // The generation before lost a process between its last step and that step's checkpoint: only the saving is left.
  if (isOver(config, signals, done) && plan.state.kind === 'keep') await saver.save(done, plan, coordinator);
  while (!isOver(config, signals, done)) {
    if (signals.released.aborted) throw new WeftError('cancelled', `generation ${plan.generation} was released`);
    const step = done + 1;
    await takeStep(step, isEvaluated(config, step));
    done = step;
    // Saving only takes a snapshot here; it is written while the next steps run.
    if (isSaved(config, signals, done)) await saver.save(done, plan, coordinator);
  }
  await saver.settled();
  return { outcome: done >= config.steps ? 'finished' : 'stopped', step: done };
}

/** Whether nothing is left to do after step `done`. */
function isOver({ steps }: RunStepsOptions['config'], { stop }: TrainSignals, done: number): boolean {
  return done >= steps || (stop.afterStep !== undefined && done >= stop.afterStep);
}

/** Whether the state after step `done` is saved: the last state always is. */
function isSaved(config: RunStepsOptions['config'], signals: TrainSignals, done: number): boolean {
  return done % config.checkpoint.everySteps === 0 || isOver(config, signals, done);
}

/** Whether the held-out loss is measured after a step. */
function isEvaluated({ evaluation, steps }: RunStepsOptions['config'], step: number): boolean {
  const { everySteps, sequencesPerSource } = evaluation;
  if (sequencesPerSource === 0) return false;
  return step >= steps || (everySteps > 0 && step % everySteps === 0);
}
