import { inMemoryRing } from '@weft/collectives';
import { refuse, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { StepVote } from '@weft/contracts';
import { type TrainTask, taskOf } from '@weft/tasks';
import type { CoordinatorPort, InitialState } from './ports.js';
import { type SequenceLoss, TrainingSession } from './session.js';

/** Which steps of a run are trained again, and how they were decided. */
export interface ReplayOptions {
  readonly runId: string;
  /** Of the run, as it was then. */
  readonly config: RunConfig;
  /** The state after `firstStep - 1`. */
  readonly startFrom: Exclude<InitialState, { readonly kind: 'keep' }>;
  readonly firstStep: number;
  readonly lastStep: number;
  /** Whether the ranks applied the gradients of a step. */
  readonly isApplied: (step: number) => boolean;
  /** Called with what each step comes to here, in order. */
  readonly onStep: (vote: StepVote) => void;
  readonly signal: AbortSignal;
}

/** As many steps as no run has: nothing is saved. */
const NEVER = 2 ** 32 - 1;
const NO_FOLDER = '/nowhere';

/**
 * Trains steps of a run again in this process alone, on the data they had. Nothing is saved, and the last of them is not applied.
 *
 * @returns the losses of the sequences of the last step, each by itself; undefined where they have none
 *
 * @param task default: the one that the configuration describes
 * @throws WeftError `cancelled` when the signal aborts; as `TrainingSession.open`, and for a checkpoint that cannot be loaded
 */
export async function replaySteps(
  options: ReplayOptions,
  task?: TrainTask,
): Promise<readonly SequenceLoss[] | undefined> {
  const { runId, startFrom, firstStep, lastStep, isApplied, onStep, signal } = options;
  const config = alone(options.config);
  const released = new AbortController();
  const release = () => released.abort();
  signal.addEventListener('abort', release, { once: true });
  let isDone = false;
  const coordinator: CoordinatorPort = {
    vote: async (vote) => {
      if (signal.aborted) throw cancelled();
      onStep(vote);
      if (vote.step < lastStep) return { apply: isApplied(vote.step) };
      isDone = true;
      throw cancelled();
    },
    report: () => {},
    checkpointPart: () => {},
  };
  const plan = { generation: 1, rank: 0, worldSize: 1, expertWorkers: 0, firstStep, state: startFrom };
  const signals = { released: released.signal, stop: { afterStep: undefined } };
  try {
    // Nothing is saved, so there is no folder of the run.
    const session = await TrainingSession.open({ runId, config, runDirectory: NO_FOLDER }, task ?? taskOf(config));
    try {
      const [group = refuse('internal', 'a ring of one rank has no rank')] = inMemoryRing(1);
      await session.train(plan, group, coordinator, signals).catch((thrown: unknown) => {
        if (!isDone) throw thrown;
      });
      return await session.sequenceLosses(lastStep);
    } finally {
      await session.close();
    }
  } finally {
    signal.removeEventListener('abort', release);
  }
}

/** The run on one worker that holds all of it, and does nothing but train. */
function alone(config: RunConfig): RunConfig {
  const { evaluation, checkpoint } = config;
  return {
    ...config,
    workers: 1,
    minWorkers: null,
    expertWorkers: 0,
    checkpoint: { ...checkpoint, everySteps: NEVER },
    evaluation: { ...evaluation, everySteps: 0, tasks: {}, tasksEverySteps: 0 },
  };
}

const cancelled = () => new WeftError('cancelled', 'the steps are trained');
