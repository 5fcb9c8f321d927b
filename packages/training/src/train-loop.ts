import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { HeldOutLoss, TaskScores } from '@weft/contracts';
import type { CheckpointSaver } from './checkpoint-saver.js';
import { haveSameParts } from './gradient-buckets.js';
import {
  type CheckpointPort,
  type GenerationPlan,
  noSpans,
  type SpanNotes,
  type TrainOutcome,
  type TrainSignals,
  type WorkTimer,
} from './ports.js';
import { StepClock } from './step-clock.js';
import { type StepParts, type StepResult, trainStep } from './train-step.js';

/** What a rank needs to train a generation. */
export interface LoopOptions extends StepParts, RunStepsOptions {
  readonly config: RunConfig;
  readonly clock?: StepClock | undefined;
  readonly coordinator: StepParts['coordinator'];
  /** Measures the held-out loss of the model after a step; every rank takes part. */
  readonly heldOut: (step: number) => Promise<HeldOutLoss>;
  /** Scores the tasks of the run with the model after a step; every rank takes part. */
  readonly scoreTasks: (step: number) => Promise<TaskScores>;
  /** Resolves once the state is in the engine; default: it is there. */
  readonly stateArrived?: Promise<void> | undefined;
  /** Called after every decided step, on every rank. */
  readonly onStep: (result: StepResult) => void;
}

/**
 * Trains from the plan's first step to the last one of the run, or the one it is asked to stop after, and returns when
 * this rank's last checkpoint part is on disk.
 * @throws WeftError `cancelled` when the generation is released, `unavailable` when the ring breaks.
 */
export async function trainLoop(options: LoopOptions): Promise<TrainOutcome> {
  const { executor, group, program } = options;
  const sameParts = await haveSameParts(executor, program.buckets, group);
  await options.stateArrived;
  const clock = options.clock ?? new StepClock();
  const { timer } = clock;
  return runSteps({ ...options, timer, spans: clock.spans }, async (step, isEvaluated) => {
    const before = timer.spent;
    const result = await trainStep({ ...options, clock, sameParts }, step).catch((thrown: unknown) => {
      // The step is given up, and begins again in another generation.
      timer.moveSince(before, 'recovering');
      timer.enter('recovering');
      throw thrown;
    });
    if (step <= (options.plan.trainedToStep ?? 0)) timer.moveSince(before, 'redoingLostWork');
    // The step is decided. From here on the state in memory is the one after it, whatever else fails.
    options.onStep(result);
    await report({ ...options, clock }, result, isEvaluated);
  });
}

/**
 * Rank 0 reports the step, with its held-out loss and its scores where they are due. If the ring breaks during the
 * evaluation, the report goes out without them: the step itself is decided.
 */
async function report(
  { config, plan, coordinator, heldOut, scoreTasks, clock }: LoopOptions,
  { report }: StepResult,
  isEvaluated: boolean,
): Promise<void> {
  let measured: HeldOutLoss | undefined;
  let taskScores: TaskScores | undefined;
  try {
    if (!isEvaluated && !areTasksScored(config, report.step)) return;
    clock?.timer.enter('evaluating');
    const beganMs = performance.now();
    if (isEvaluated) measured = await heldOut(report.step);
    if (areTasksScored(config, report.step)) taskScores = await scoreTasks(report.step);
    clock?.spans.add('step', 'evaluate', beganMs);
  } finally {
    if (plan.rank === 0) coordinator.report({ ...report, heldOut: measured, taskScores });
  }
}

/** What the loop over the steps needs, on a rank and on an expert worker. */
export interface RunStepsOptions {
  readonly config: Pick<RunConfig, 'steps' | 'checkpoint' | 'evaluation'>;
  readonly coordinator: CheckpointPort;
  readonly plan: GenerationPlan;
  readonly signals: TrainSignals;
  readonly saver: Pick<CheckpointSaver, 'save' | 'settled'>;
  /** Times what stands still for a checkpoint. Default: nothing does. */
  readonly timer?: WorkTimer | undefined;
  /** Notes what it does for a profile. Default: nothing is noted. */
  readonly spans?: SpanNotes | undefined;
  /** Called when training stood still to begin a checkpoint; default: nothing. */
  readonly onSave?: ((seconds: number) => void) | undefined;
}

/**
 * The steps of one generation, on a rank and on an expert worker: take a step, save where a checkpoint is due, stop.
 * @param takeStep takes one step to its decision, and evaluates the model after it where `isEvaluated`
 */
export async function runSteps(
  { config, coordinator, plan, saver, signals, timer, spans = noSpans, onSave }: RunStepsOptions,
  takeStep: (step: number, isEvaluated: boolean) => Promise<void>,
): Promise<TrainOutcome> {
  let done = plan.firstStep - 1;
  // The generation before lost a process between its last step and that step's checkpoint: only the saving is left.
  if (isOver(config, signals, done) && plan.state.kind === 'keep') await saver.save(done, plan, coordinator);
  while (!isOver(config, signals, done) && done !== signals.handOver?.afterStep) {
    if (signals.released.aborted) throw new WeftError('cancelled', `generation ${plan.generation} was released`);
    const step = done + 1;
    spans.atStep(step);
    const stepBeganMs = performance.now();
    await takeStep(step, isEvaluated(config, step));
    spans.add('step', `step ${step}`, stepBeganMs);
    done = step;
    // Saving only takes a snapshot here; it is written while the next steps run.
    if (!isSaved(config, signals, done)) continue;
    const beganMs = performance.now();
    timer?.enter('checkpointing');
    await saver.save(done, plan, coordinator);
    spans.add('step', `snapshot of step ${step}`, beganMs);
    onSave?.((performance.now() - beganMs) / 1000);
  }
  // Its files are written while the next generation trains.
  if (!isOver(config, signals, done)) return { outcome: 'handedOver', step: done };
  timer?.enter('checkpointing');
  await saver.settled();
  return { outcome: done >= config.steps ? 'finished' : 'stopped', step: done };
}

/** Whether nothing is left to do after step `done`. */
function isOver({ steps }: RunStepsOptions['config'], { stop }: TrainSignals, done: number): boolean {
  return done >= steps || (stop.afterStep !== undefined && done >= stop.afterStep);
}

/** Whether the state after step `done` is saved: the last state always is. */
function isSaved(config: RunStepsOptions['config'], signals: TrainSignals, done: number): boolean {
  const isDue = done % config.checkpoint.everySteps === 0 || done === signals.save?.afterStep;
  return isDue || isOver(config, signals, done);
}

/** Whether the held-out loss is measured after a step. */
function isEvaluated({ evaluation, steps }: RunStepsOptions['config'], step: number): boolean {
  const { everySteps, sequencesPerSource } = evaluation;
  if (sequencesPerSource === 0) return false;
  return step >= steps || (everySteps > 0 && step % everySteps === 0);
}

/** Whether the tasks are scored after a step. */
function areTasksScored({ evaluation, steps }: RunStepsOptions['config'], step: number): boolean {
  const { tasks, tasksEverySteps } = evaluation;
  if (Object.keys(tasks).length === 0) return false;
  return step >= steps || (tasksEverySteps > 0 && step % tasksEverySteps === 0);
}
