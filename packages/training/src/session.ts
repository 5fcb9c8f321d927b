import { checkpointDirectory, type Manifest, pruneCheckpoints, writeManifest } from '@weft/checkpoint';
import type { ExpertExchange, ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { CheckpointFile, HeldOutLoss } from '@weft/contracts';
import { heldOutLoss, type LossSum } from '@weft/evaluation';
import { type Microbatch, type TaskData, type TrainTask, taskOf } from '@weft/tasks';
import { stepSequences } from '@weft/topology';
import { rankShare } from './checkpoint-saver.js';
import { disposeAll, scalarOf } from './host-tensors.js';
import { evaluateRemotely, openRemoteExperts, type RemoteExperts } from './moe/remote-moe-pipeline.js';
import type { CoordinatorPort, GenerationPlan, TrainOutcome, TrainSignals } from './ports.js';
import { isMeshed, type ProcessOptions, RunEngine } from './run-engine.js';
import { trainLoop } from './train-loop.js';
import { type TrainExecutor, type TrainProgram, trainProgram } from './train-program.js';
import type { StepResult } from './train-step.js';

/** A run as one of its workers sees it. */
export interface SessionOptions extends ProcessOptions {
  readonly runId: string;
  /** Called after every decided step; default: nothing. */
  readonly onStep?: (result: StepResult) => void;
  /** Called after every evaluation of the held-out sequences; default: nothing. */
  readonly onHeldOut?: (loss: HeldOutLoss) => void;
}

/** One run on this worker: its task, the data, and the engine with its state, kept across the run's generations. */
export class TrainingSession {
  readonly #options: SessionOptions;
  readonly #task: TrainTask;
  readonly #data: TaskData;
  readonly #engine: RunEngine<TrainProgram>;

  /**
   * @param task default: the one that the configuration describes
   * @throws WeftError for a missing or unfit data index, or a missing TensorFlow library.
   */
  static async open(options: SessionOptions, task: TrainTask = taskOf(options.config)): Promise<TrainingSession> {
    const data = await task.openData();
    try {
      return new TrainingSession(options, task, data);
    } catch (thrown) {
      await data.close();
      throw thrown;
    }
  }

  private constructor(options: SessionOptions, task: TrainTask, data: TaskData) {
    this.#options = options;
    this.#task = task;
    this.#data = data;
    this.#engine = new RunEngine({
      ...options,
      program: trainProgram(task, options.config, isMeshed(options.config) ? 'separate' : 'joined'),
      share: rankShare,
      check: (manifest, directory) => this.#checkData(manifest, directory),
    });
  }

  /** The engine in use, for people. */
  get engine(): string {
    return this.#engine.executor.description;
  }

  /**
   * Trains one generation of the run as one of its ranks.
   * @param exchange the connection to the experts, where the run has expert workers
   * @throws WeftError `cancelled` when it is released, `unavailable` when the ring breaks; the state stays the one
   *         after the last decided step. Anything else is the failure of the run.
   */
  train(
    plan: GenerationPlan,
    group: ProcessGroup,
    coordinator: CoordinatorPort,
    signals: TrainSignals,
    exchange?: ExpertExchange,
  ): Promise<TrainOutcome> {
    const { config, onStep, onHeldOut } = this.#options;
    const { executor, program, saver, state } = this.#engine;
    const layers = this.#task.remoteExperts?.layers ?? [];
    const remote = exchange && openRemoteExperts(exchange, layers, config.microbatchesInFlight);
    const { heldOut: sets } = this.#data;
    return this.#engine.runGeneration(plan, signals, async () => {
      const loader = this.#data.openLoader();
      try {
        return await trainLoop({
          config,
          task: this.#task,
          program,
          executor,
          loader,
          group,
          coordinator,
          remote,
          plan,
          signals,
          saver,
          heldOut: async (step) => {
            const evaluate = (batch: Microbatch, index: number) => this.#evaluate(batch, index, step, remote);
            const loss = await heldOutLoss({ sets, evaluate, group, signal: signals.released });
            onHeldOut?.(loss);
            return loss;
          },
          onStep: (result) => {
            state.setStep(result.report.step);
            onStep?.(result);
          },
        });
      } finally {
        await loader.close();
      }
    });
  }

  /** Rank 0, once every rank's part is on disk: makes step's directory a checkpoint and removes those beyond `keepLast`. */
  async writeManifest(step: number, files: readonly CheckpointFile[]): Promise<string> {
    const { config, runDirectory, runId } = this.#options;
    const directory = checkpointDirectory(runDirectory, step);
    const nextSequence = stepSequences(step, config.globalBatchSize).end;
    const dataIdentity = this.#data.identity;
    await writeManifest(directory, { runId, step, nextSequence, config, dataIdentity, files: [...files] });
    await pruneCheckpoints(runDirectory, config.checkpoint.keepLast);
    return directory;
  }

  /** Frees the engine and closes the data; waits for a checkpoint that is being written. */
  async close(): Promise<void> {
    await this.#engine.close();
    await this.#data.close();
  }

  /** The forward pass of one microbatch on the model after `step`. */
  async #evaluate(batch: Microbatch, index: number, step: number, remote: RemoteExperts | undefined): Promise<LossSum> {
    const executor: TrainExecutor = this.#engine.executor;
    const outputs =
      remote === undefined
        ? await executor.run('evaluate', batch)
        : await evaluateRemotely({ executor, remote, step }, batch, index);
    const sum = { lossSum: scalarOf(outputs, 'lossSum'), lossTokens: scalarOf(outputs, 'lossTokens') };
    disposeAll(outputs);
    return sum;
  }

  /** @throws `failed_precondition` for a checkpoint of other data: sequences would be repeated or left out. */
  #checkData({ dataIdentity }: Manifest, directory: string): void {
    if (dataIdentity === null || dataIdentity === this.#data.identity) return;
    throw new WeftError(
      'failed_precondition',
      `checkpoint ${directory} was trained on another data index than the one in ${this.#options.config.data.directory}, so that sequences would be repeated or left out`,
      { hint: 'put back the shards it was trained on and run weft data index, or begin a new run' },
    );
  }
}
