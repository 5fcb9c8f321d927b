import { isDeepStrictEqual } from 'node:util';
import { checkpointDirectory, type Manifest, manifestSha256, pruneCheckpoints, writeManifest } from '@weft/checkpoint';
import type { ExchangeDevices, ExpertExchange, ProcessGroup } from '@weft/collectives';
import { type PerSource, refuse, type SourceId, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { CheckpointFile, HeldOutLoss, TaskScores } from '@weft/contracts';
import { EvaluationFolder, heldOutLoss, type LossSum, TaskEvaluator } from '@weft/evaluation';
import { type Microbatch, type TaskData, type TrainTask, taskOf } from '@weft/tasks';
import type { Executor } from '@weft/tensor';
import { ringChunks, stepSequences } from '@weft/topology';
import { rankShare } from './checkpoint-saver.js';
import { openDeviceSums } from './device-sums.js';
import { disposeAll, scalarOf } from './host-tensors.js';
import { openDeviceExchange } from './moe/device-exchange.js';
import { evaluateRemotely, openRemoteExperts, type RemoteExperts } from './moe/remote-moe-pipeline.js';
import type { CoordinatorPort, GenerationPlan, TrainOutcome, TrainSignals, WorkTimer } from './ports.js';
import { isMeshed, openExecutor, type ProcessOptions, RunEngine } from './run-engine.js';
import { initialiseState } from './state.js';
import type { StateTransfer } from './state-transfer.js';
import { StepClock } from './step-clock.js';
import { trainLoop } from './train-loop.js';
import { type TrainExecutor, type TrainProgram, trainProgram } from './train-program.js';
import { type StepResult, trainStep } from './train-step.js';

/** A run as one of its workers sees it. */
export interface SessionOptions extends ProcessOptions {
  readonly runId: string;
  /** Called after every decided step; default: nothing. */
  readonly onStep?: (result: StepResult) => void;
  /** Called after every evaluation of the held-out sequences; default: nothing. */
  readonly onHeldOut?: (loss: HeldOutLoss) => void;
  /** Told once how many samples the index leaves out, by source and reason; default: nothing. */
  readonly onBadSamples?: (samples: PerSource<Readonly<Record<string, number>>>) => void;
  /** Keeps what the worker spends its time on; default: nobody does. */
  readonly timer?: WorkTimer;
  /** Called when training stood still to begin a checkpoint; default: nothing. */
  readonly onSave?: (seconds: number) => void;
  /** Told at the start of a generation what sums gradients between workers, where GPUs might; default: nothing. */
  readonly onCollectives?: (description: string) => void;
  /** Told at the start of a generation how rows reach expert workers, where they might between GPUs; default: nothing. */
  readonly onExchange?: (description: string) => void;
  /** Called after every evaluation of tasks; default: nothing. */
  readonly onTaskScores?: (step: number, scores: TaskScores) => void;
  /** Called when an example of a task cannot be read, which leaves the task without a score; default: nothing. */
  readonly onTaskFailure?: (error: WeftError) => void;
}

/** What one sequence of a step contributes to its loss. */
export interface SequenceLoss extends LossSum {
  readonly source: SourceId;
  /** Its number in the index of its source. */
  readonly sequence: number;
}

/** A checkpoint whose manifest is on disk. */
export interface WrittenCheckpoint {
  readonly directory: string;
  /** Hexadecimal. */
  readonly manifestSha256: string;
}

/** One run on this worker: its task, the data, and the engine with its state, kept across the run's generations. */
export class TrainingSession {
  readonly #options: SessionOptions;
  readonly #task: TrainTask;
  /** As the newest generation has it: its mixture may change. */
  #config: RunConfig;
  #data: TaskData;
  readonly #engine: RunEngine<TrainProgram>;
  /** Undefined for a run without tasks to score. */
  readonly #evaluator: TaskEvaluator | undefined;
  readonly #clock: StepClock;

  /**
   * @param task default: the one that the configuration describes
   * @throws WeftError for a missing or unfit data index, a missing TensorFlow library, or tasks that cannot be scored.
   */
  static async open(options: SessionOptions, task: TrainTask = taskOf(options.config)): Promise<TrainingSession> {
    const data = await task.openData();
    let evaluator: TaskEvaluator | undefined;
    try {
      evaluator = await openEvaluator(options);
      return new TrainingSession(options, task, data, evaluator);
    } catch (thrown) {
      await evaluator?.close();
      await data.close();
      throw thrown;
    }
  }

  private constructor(options: SessionOptions, task: TrainTask, data: TaskData, evaluator: TaskEvaluator | undefined) {
    this.#options = options;
    this.#task = task;
    this.#config = options.config;
    this.#data = data;
    this.#evaluator = evaluator;
    // In the background, and no failure of the run: it is a number on a page.
    if (options.onBadSamples !== undefined) data.badSamples?.().then(options.onBadSamples, () => {});
    this.#engine = new RunEngine({
      ...options,
      program: trainProgram(task, options.config, {
        layout: isMeshed(options.config) ? 'separate' : 'joined',
        variants: data.variants,
      }),
      share: rankShare,
      check: (manifest, directory) => this.#checkData(manifest, directory),
    });
    const { compiles } = this.#engine.executor;
    this.#clock = new StepClock(options.timer, options.spans, { compiles });
  }

  /** The engine in use, for people. */
  get engine(): string {
    return this.#engine.executor.description;
  }

  /**
   * Takes over what changes in a run under way between two generations: what it is trained on.
   *
   * @throws WeftError as `open`, for the data
   */
  async follow(config: RunConfig): Promise<void> {
    if (isDeepStrictEqual(config.data, this.#config.data)) return;
    const data = await taskOf(config).openData();
    const before = this.#data;
    [this.#config, this.#data] = [config, data];
    await before.close();
  }

  /**
   * Trains one generation of the run as one of its ranks.
   * @param exchange the connection to the experts, where the run has expert workers
   * @param transfer the way of the state to ranks that join under way, where there are some
   * @throws WeftError `cancelled` when it is released, `unavailable` when the ring breaks; the state stays the one
   *         after the last decided step. Anything else is the failure of the run.
   */
  train(
    plan: GenerationPlan,
    group: ProcessGroup,
    coordinator: CoordinatorPort,
    signals: TrainSignals,
    exchange?: ExpertExchange,
    transfer?: StateTransfer,
  ): Promise<TrainOutcome> {
    const { config, onStep, onSave, onHeldOut, onTaskScores } = this.#options;
    const { onCollectives = () => {}, onExchange = () => {} } = this.#options;
    const { executor, program, saver, state } = this.#engine;
    // The first backward pass is compiled when its batch is there; these two need none.
    executor.prepare(['measure', 'apply']);
    const { heldOut: sets } = this.#data;
    const run = async (stateArrived: Promise<void> | undefined) => {
      const devices = await openDeviceSums({ config, executor, buckets: program.buckets, group, onCollectives });
      const loader = this.#data.openLoader();
      try {
        const remote = exchange && (await this.#openRemote(exchange, onExchange));
        return await trainLoop({
          devices,
          config,
          clock: this.#clock,
          onSave,
          task: this.#task,
          program,
          executor,
          loader,
          group,
          coordinator,
          remote,
          stateArrived,
          plan,
          signals,
          saver,
          heldOut: async (step) => {
            const evaluate = (batch: Microbatch, index: number) => this.#evaluate(batch, index, step, remote);
            const loss = await heldOutLoss({ sets, evaluate, group, signal: signals.released });
            onHeldOut?.(loss);
            return loss;
          },
          scoreTasks: async (step) => {
            const scores = await this.#scoreTasks(step, group, signals.released);
            onTaskScores?.(step, scores);
            return scores;
          },
          onStep: (result) => {
            state.setStep(result.report.step);
            onStep?.(result);
          },
        });
      } finally {
        await loader.close();
        await devices?.close();
      }
    };
    return this.#engine.runGeneration(plan, signals, run, transfer);
  }

  /**
   * Gets the engine ready to join a run under way, while others train: takes a step of the run on a state of its own, which
   * compiles and allocates what the first real step needs. The state is void afterwards.
   * @param step a step of the run, whose data is read
   */
  async warmUp(step: number, worldSize: number): Promise<void> {
    const { config } = this.#options;
    const { executor, program } = this.#engine;
    executor.prepare(['measure', 'apply']);
    // Its phases need rows of experts in other processes.
    if (this.#task.remoteExperts !== undefined && config.expertWorkers > 0) return;
    await initialiseState(executor, program, config.seed);
    const loader = this.#data.openLoader();
    const coordinator = { vote: async () => ({ apply: true }), report: () => {}, checkpointPart: () => {} };
    const group = rehearsalGroup(worldSize);
    try {
      const clock = this.#clock.rehearsal();
      const load: typeof loader.load = async (...of) => twoAtLeast(await loader.load(...of));
      // A task that shares values asks what it shares of the microbatches that there are.
      const rehearsed = this.#task.shared === undefined ? { load } : loader;
      await trainStep(
        { config, task: this.#task, program, executor, loader: rehearsed, group, coordinator, clock },
        step,
      );
    } finally {
      await loader.close();
    }
  }

  /**
   * Rank 0, once every rank's part is on disk: makes step's directory a checkpoint and removes those that are not to be kept.
   *
   * @param unhealthy why it may hold a broken model
   */
  async writeManifest(step: number, files: readonly CheckpointFile[], unhealthy?: string): Promise<WrittenCheckpoint> {
    const { runDirectory, runId } = this.#options;
    const config = this.#config;
    const directory = checkpointDirectory(runDirectory, step);
    const nextSequence = stepSequences(step + 1, config.globalBatchSize, config.data.skippedBatches).first;
    const dataIdentity = this.#data.identityOf(step);
    const beganMs = performance.now();
    await writeManifest(directory, {
      runId,
      step,
      nextSequence,
      config,
      dataIdentity,
      files: [...files],
      unhealthy: unhealthy ?? null,
    });
    const hash = await manifestSha256(directory);
    await pruneCheckpoints(runDirectory, config.checkpoint);
    this.#clock.spans.add('checkpoints', `manifest of step ${step}`, beganMs);
    return { directory, manifestSha256: hash };
  }

  /**
   * The loss of every sequence of a step by itself, on the model as it is now; undefined for a task whose sequences have none.
   *
   * @throws WeftError as the loader
   */
  async sequenceLosses(step: number): Promise<readonly SequenceLoss[] | undefined> {
    if (this.#data.sequencesOf === undefined) return undefined;
    const losses: SequenceLoss[] = [];
    for await (const { source, sequence, arrays } of this.#data.sequencesOf(step)) {
      const { lossSum, lossTokens } = await this.#evaluate(arrays, losses.length, step, undefined);
      losses.push({ source, sequence, lossSum, lossTokens });
    }
    return losses;
  }

  /** Frees the engine and closes the data; waits for a checkpoint that is being written. */
  async close(): Promise<void> {
    await this.#evaluator?.close();
    await this.#engine.close();
    await this.#data.close();
  }

  async #openRemote(exchange: ExpertExchange, onExchange: (description: string) => void): Promise<RemoteExperts> {
    const { config } = this.#options;
    const { executor } = this.#engine;
    const { layers = [], rows } = this.#task.remoteExperts ?? {};
    const open = (devices: ExchangeDevices) => exchange.openDevices(devices);
    const isOnDevices = await openDeviceExchange({ config, executor, open, onExchange });
    const allocate = isOnDevices && rows !== undefined ? () => executor.allocate(rows) : undefined;
    return openRemoteExperts(exchange, layers, config.microbatchesInFlight, allocate, this.#clock.spans);
  }

  /** The forward pass of one microbatch on the model after `step`. */
  async #evaluate(batch: Microbatch, index: number, step: number, remote: RemoteExperts | undefined): Promise<LossSum> {
    const executor: TrainExecutor = this.#engine.executor;
    const { program } = this.#engine;
    const outputs =
      remote === undefined
        ? await executor.run(program.phaseOf('evaluate', batch), batch)
        : await evaluateRemotely({ executor, program, remote, step }, batch, index);
    const sum = { lossSum: scalarOf(outputs, 'lossSum'), lossTokens: scalarOf(outputs, 'lossTokens') };
    disposeAll(outputs);
    return sum;
  }

  /** The scores of the model after `step`, on all ranks together. */
  #scoreTasks(step: number, group: ProcessGroup, signal: AbortSignal): Promise<TaskScores> {
    const { executor, program } = this.#engine;
    const { runDirectory, onTaskFailure: onFailure = () => {} } = this.#options;
    const folder = EvaluationFolder.ofRun(runDirectory, step);
    const names = program.parameters.map(({ name }) => name);
    const parameters = currentValues(executor, names);
    const evaluator = this.#evaluator ?? refuse('internal', 'the run has no tasks to score');
    return evaluator.score({ step, parameters, folder, group, signal, onFailure });
  }

  /** @throws `failed_precondition` for a checkpoint of other data: sequences would be repeated or left out. */
  #checkData({ dataIdentity, step }: Manifest, directory: string): void {
    if (dataIdentity === null || dataIdentity === this.#data.identityOf(step)) return;
    throw new WeftError(
      'failed_precondition',
      `checkpoint ${directory} was trained on another data index than the one in ${this.#options.config.data.directory}, so that sequences would be repeated or left out`,
      { hint: 'put back the shards it was trained on and run weft data index, or begin a new run' },
    );
  }
}

/** A model of its own for the tasks of the run, with an executor that is opened when they are first scored. */
async function openEvaluator(options: SessionOptions): Promise<TaskEvaluator | undefined> {
  const { config, runId } = options;
  if (Object.keys(config.evaluation.tasks).length === 0) return undefined;
  // Without a backward pass there is nothing to compute a second time.
  const forward: SessionOptions = { ...options, config: { ...config, activationCheckpointing: 'none' } };
  return TaskEvaluator.open({ config, run: runId, openExecutor: (program) => openExecutor(program, forward) });
}

/** Variables of an engine as they are now, one at a time. */
async function* currentValues(executor: Executor, names: readonly string[]) {
  for (const name of names) {
    const { [name]: tensor } = await executor.readState([name]);
    // A copy, because the tensor's memory may be the engine's.
    const values = tensor?.data instanceof Float32Array ? tensor.data.slice() : undefined;
    tensor?.dispose();
    if (values !== undefined) yield [name, values] as const;
  }
}

/** Microbatches after the first are added to it in a phase of its own, which is to be compiled too. */
function twoAtLeast<Batch extends { readonly microbatches: readonly Microbatch[] }>(batch: Batch): Batch {
  const [first] = batch.microbatches;
  return first === undefined || batch.microbatches.length > 1 ? batch : { ...batch, microbatches: [first, first] };
}

/** The last rank of a group in which nobody else takes part: every sum is this rank's own. For a step that does not count. */
function rehearsalGroup(worldSize: number): ProcessGroup {
  const rank = worldSize - 1;
  return {
    rank,
    worldSize,
    allReduceSum: async () => {},
    reduceScatterSum: async (values) => ringChunks(values.length, worldSize)[rank]!,
    allGather: async (bytes) => Array.from({ length: worldSize }, () => bytes),
    broadcast: async () => {},
    barrier: async () => {},
    broken: new Promise(() => {}),
    close: async () => {},
    stats: { bytesSent: 0, bytesReceived: 0, seconds: 0, operations: 0 },
  };
}
