import { checkpointDirectory, type Manifest, pruneCheckpoints, writeManifest } from '@weft/checkpoint';
import type { ExpertExchange, ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { CheckpointFile, HeldOutLoss } from '@weft/contracts';
import { Dataset, SliceLoader } from '@weft/data';
import { createExecutor, type Executor } from '@weft/engine';
import { MixtureSchedule } from '@weft/mixture';
import { moeLayers } from '@weft/model';
import { stepSequences } from '@weft/topology';
import { CheckpointSaver, rankShare } from './checkpoint-saver.js';
import { chooseEngine } from './choose-engine.js';
import { remoteExpertsOf } from './experts/microbatch-flow.js';
import { heldOutLoss } from './held-out-loss.js';
import { localThreads } from './local-threads.js';
import type { CoordinatorLink, GenerationPlan, TrainOutcome, TrainSignals } from './ports.js';
import { ResidentState } from './resident-state.js';
import { trainLoop } from './train-loop.js';
import { type TrainProgram, trainProgram } from './train-program.js';
import type { StepResult } from './train-step.js';

export interface SessionOptions {
  readonly runId: string;
  readonly config: RunConfig;
  /** Where the run keeps its files; checkpoints go below it. */
  readonly runDirectory: string;
  /** Workers that share this host's cores; default 1. */
  readonly localWorkers?: number;
  /** Threads inside one op; default: the run's setting, or this worker's share of the cores. */
  readonly threads?: number;
  /** Told of every decided step; default: nobody. */
  readonly onStep?: (result: StepResult) => void;
  /** Told of every evaluation of the held-out sequences; default: nobody. */
  readonly onHeldOut?: (loss: HeldOutLoss) => void;
}

/** One run on this worker: the engine, its state and the data, kept across the run's generations. */
export class TrainingSession {
  readonly #options: SessionOptions;
  readonly #program: TrainProgram;
  readonly #dataset: Dataset;
  readonly #executor: Executor;
  readonly #saver: CheckpointSaver;
  readonly #state: ResidentState;

  /** @throws WeftError for a missing or unfit data index, or a missing TensorFlow library. */
  static async open(options: SessionOptions): Promise<TrainingSession> {
    const { config } = options;
    const kind = chooseEngine(config);
    const dataset = await Dataset.open({ data: config.data, model: config.model });
    const program = trainProgram(config);
    const { precision, activationCheckpointing: recompute } = config;
    const executor = createExecutor(program, { kind, precision, recompute, threads: localThreads(options) });
    return new TrainingSession(options, program, dataset, executor);
  }

  private constructor(options: SessionOptions, program: TrainProgram, dataset: Dataset, executor: Executor) {
    this.#options = options;
    this.#program = program;
    this.#dataset = dataset;
    this.#executor = executor;
    const { config, runDirectory } = options;
    const { stored } = program;
    this.#saver = new CheckpointSaver({ executor, stored, runDirectory, shareOf: (plan) => rankShare(stored, plan) });
    const check = (manifest: Manifest, directory: string) => this.#check(manifest, directory);
    this.#state = new ResidentState({ executor, program, seed: config.seed, initFrom: config.initFrom, check });
  }

  /** The engine in use, for people. */
  get engine(): string {
    return this.#executor.description;
  }

  /**
   * Trains one generation of the run as one of its ranks.
   * @param exchange the way to the experts, where the run has expert workers.
   * @throws WeftError `cancelled` when it is released, `unavailable` when the ring breaks; the state stays the one
   *         after the last decided step. Anything else is the failure of the run.
   */
  async train(
    plan: GenerationPlan,
    group: ProcessGroup,
    link: CoordinatorLink,
    signals: TrainSignals,
    exchange?: ExpertExchange,
  ): Promise<TrainOutcome> {
    await this.#state.prepare(plan);
    const { config } = this.#options;
    const [executor, dataset] = [this.#executor, this.#dataset];
    const loader = this.#openLoader();
    const remote = exchange && remoteExpertsOf(exchange, moeLayers(config.model.decoder), config.microbatchesInFlight);
    const onStep = (result: StepResult) => {
      this.#state.advanced(result.report.step);
      this.#options.onStep?.(result);
    };
    const heldOut = async (step: number) => {
      const loss = await heldOutLoss({ config, executor, dataset, group, remote, step, released: signals.released });
      this.#options.onHeldOut?.(loss);
      return loss;
    };
    try {
      return await trainLoop({
        config,
        program: this.#program,
        executor,
        loader,
        group,
        link,
        remote,
        plan,
        signals,
        saver: this.#saver,
        heldOut,
        onStep,
      });
    } catch (thrown) {
      if (signals.released.aborted) {
        throw new WeftError('cancelled', `generation ${plan.generation} was released`, { cause: thrown });
      }
      throw thrown;
    } finally {
      await loader.close();
    }
  }

  /** Rank 0, once every rank's part is on disk: makes step's directory a checkpoint and removes those beyond `keepLast`. */
  async writeManifest(step: number, files: readonly CheckpointFile[]): Promise<string> {
    const { config, runDirectory, runId } = this.#options;
    const directory = checkpointDirectory(runDirectory, step);
    const nextSequence = stepSequences(step, config.globalBatchSize).end;
    const dataIdentity = this.#dataset.identity;
    await writeManifest(directory, { runId, step, nextSequence, config, dataIdentity, files: [...files] });
    await pruneCheckpoints(runDirectory, config.checkpoint.keepLast);
    return directory;
  }

  /** Frees the engine and closes the data; waits for a checkpoint that is being written. */
  async close(): Promise<void> {
    await this.#saver.settled().catch(() => {});
    await this.#executor.dispose();
    await this.#dataset.close();
  }

  #openLoader(): SliceLoader {
    const { config } = this.#options;
    return new SliceLoader({
      dataset: this.#dataset,
      schedule: new MixtureSchedule(config.data.weights),
      seed: config.seed,
      microbatchSize: config.microbatchSize,
      globalBatchSize: config.globalBatchSize,
      prefetchSteps: config.data.prefetchSteps,
      heldOutPerSource: config.evaluation.sequencesPerSource,
    });
  }

  /** @throws `failed_precondition` for a checkpoint of other data: sequences would be repeated or left out. */
  #check({ dataIdentity }: Manifest, directory: string): void {
    if (dataIdentity === null || dataIdentity === this.#dataset.identity) return;
    throw new WeftError(
      'failed_precondition',
      `checkpoint ${directory} was trained on another data index than the one in ${this.#options.config.data.directory}, so that sequences would be repeated or left out`,
      { cure: 'put back the shards it was trained on and run weft data index, or begin a new run' },
    );
  }
}
