import type { PerSource, SourceId } from '@weft/common';
import type { BatchCounts, MoeLayerStats } from '@weft/contracts';
import type { HostArray, TensorSpec, tf } from '@weft/tensor';
import type { TaskParameter } from './task-parameter.js';

/**
 * What a run trains: parameters, a batch and an objective. This is all that the training loop, the optimizer and the
 * checkpoints know of it. `docs/design/training.md` says how a task is added.
 */
export interface TrainTask {
  /** For people and error messages. */
  readonly name: string;
  /** The parameters that a rank holds, in forward order: gradients are reduced from the last to the first. */
  readonly parameters: readonly TaskParameter[];
  /** Positions of one sequence, padding included: what tokens per second count. */
  readonly sequenceLength: number;
  /** The arrays of one microbatch, all of them fed when a pass begins: the largest, where `TaskData` names smaller ones. */
  readonly batch: BatchSpecs;
  /** Elements of `Objective.stats`; 0 where the task has none. */
  readonly statsLength: number;
  /** The MoE layers whose experts live in other processes; undefined where the rank computes everything itself. */
  readonly remoteExperts: RemoteExpertLayers | undefined;
  /** For a task whose loss compares the sequences of a step with each other. Default: sequences know nothing of each other. */
  readonly shared?: SharedBatch | undefined;
  /** The forward pass on one microbatch. The training loop differentiates `Objective.objective`. */
  readonly forward: (pass: ForwardPass) => Objective;
  /** What the loss of a microbatch is divided by, as far as the batch goes: a scalar, the number of its targets. */
  readonly lossTokens: (batch: TaskBatch) => tf.Tensor;
  /**
   * Reads the statistics of a step.
   * @param sums `statsLength` elements, summed over the microbatches of all ranks
   * @param lossTokens summed in the same way
   */
  readonly readStats: (sums: ArrayLike<number>, lossTokens: number) => TaskStats;
  /** Whether a tensor of a checkpoint belongs to another process of the run. */
  readonly isRemote: (storedName: string) => boolean;
  /** Opens what batches are filled from. @throws WeftError for a missing or unfit data index. */
  readonly openData: () => Promise<TaskData>;
}

/** The arrays of a microbatch, by name. */
export type BatchSpecs = Readonly<Record<string, TensorSpec>>;

/** A shape of microbatches that hold less than the largest; the forward pass computes only what is in them. */
export interface BatchVariant {
  /** Part of the names of its phases, such as `12-images`. */
  readonly name: string;
  /** Some of the arrays of `TrainTask.batch`, and smaller ones. */
  readonly batch: BatchSpecs;
}

/** The tensors of one microbatch, by the names of `TrainTask.batch`. */
export type TaskBatch = Readonly<Record<string, tf.Tensor>>;

/** What a forward pass may use. */
export interface ForwardPass {
  readonly batch: TaskBatch;
  readonly parameter: (name: string) => tf.Tensor;
  /** False in an evaluation: nothing is differentiated, and noise that only helps training is left out. */
  readonly isTraining: boolean;
  /** Makes a tensor an output of the phase, ready before the phase ends. */
  readonly capture: (name: string, tensor: tf.Tensor) => void;
  /** An input that arrives while the phase runs, one of `RemoteExpertLayers`. */
  readonly pendingInput: (name: string) => tf.Tensor;
}

/**
 * What sequences of a step tell all others before any gradient is computed: values of their own, a row each. Round by
 * round, every microbatch of every rank is computed without keeping activations, and its rows are gathered over all ranks.
 * Then the gradients of a microbatch are those of one process with the whole batch, and memory grows with the microbatch.
 */
export interface SharedBatch {
  /** Of a step: the rows of what is gathered. */
  readonly sequences: number;
  /** Of a microbatch. */
  readonly microbatchSize: number;
  readonly rounds: readonly SharedRound[];
}

/** One thing that sequences tell of themselves. */
export interface SharedRound {
  /** What later rounds and the forward pass of training find it by in their batch: float32 [sequences, width]. */
  readonly name: string;
  /** Elements of a sequence. */
  readonly width: number;
  /** The arrays of a microbatch that it reads. Where there are none, it reads what was shared in earlier rounds. */
  readonly batch: BatchSpecs;
  /** A row for every sequence of a microbatch; nothing is differentiated. */
  readonly compute: (pass: Pick<ForwardPass, 'batch' | 'parameter'>) => tf.Tensor;
}

/**
 * In the batch of later rounds and of training where a task shares: which rows of what was gathered belong to the sequences
 * of the microbatch, int32; −1 for those that are padding.
 */
export const SHARED_ROWS = 'rows_B';

/** The loss of one microbatch. Every part is a *sum*, so that microbatches and ranks add up. */
export interface Objective {
  /** What training minimises, a scalar. */
  readonly objective: tf.Scalar;
  /** What is reported, over `TrainTask.lossTokens`: the objective without its auxiliary losses. A scalar. */
  readonly lossSum: tf.Scalar;
  /** `statsLength` elements; undefined where that is 0. */
  readonly stats: tf.Tensor | undefined;
}

/** What a step's report says beside the loss. A task without MoE layers has none. */
export interface TaskStats {
  readonly moeLayers: readonly MoeLayerStats[];
  /** Numbers of the task's own, by name, such as its accuracy. Default: none. */
  readonly measures?: Readonly<Record<string, number>> | undefined;
  /** Mean loss of each source that the step had text tokens of. Default: not known. */
  readonly sourceLoss?: PerSource<number> | undefined;
}

/** How a rank and its remote experts meet: see `exchangeNames` for what leaves and enters a phase at each layer. */
export interface RemoteExpertLayers {
  /** The decoder layers, ascending. */
  readonly layers: readonly number[];
  /** The tokens of one microbatch for a layer, [E, C, D], and what comes back. */
  readonly rows: TensorSpec;
  /** The pending inputs of a forward and backward pass. */
  readonly trainInputs: Readonly<Record<string, TensorSpec>>;
  /** The pending inputs of a forward pass alone. */
  readonly evaluateInputs: Readonly<Record<string, TensorSpec>>;
}

/** One sequence of a step. */
export interface SequenceMicrobatch {
  readonly source: SourceId;
  /** Its number in the index of its source. */
  readonly sequence: number;
  readonly arrays: Microbatch;
}

/** The data of a run on one worker, open. */
export interface TaskData {
  /** Names the data set and its order, as they are after a step. A checkpoint of others is refused. */
  identityOf(step: number): string;
  /** The shapes in which its microbatches come beside `TrainTask.batch`. Default: none. */
  readonly variants?: readonly BatchVariant[];
  /** A reader for one generation; it reads ahead. */
  openLoader(): BatchLoader;
  /** The sequences of a step, each alone in a microbatch. Absent where a sequence has no loss of its own. */
  sequencesOf?(step: number): AsyncIterable<SequenceMicrobatch>;
  /** What is never trained on, one set for each source, in the order of the configuration. */
  readonly heldOut: readonly HeldOutSet[];
  /** How many samples are not in the index, by source and reason, because something was wrong with them. Default: not known. */
  badSamples?(): Promise<PerSource<Readonly<Record<string, number>>>>;
  close(): Promise<void>;
}

/** Reads what one rank trains on. */
export interface BatchLoader {
  /**
   * @param step from 1
   * @throws WeftError `corrupt_data` or `not_found` naming what cannot be read, `cancelled` after `close`.
   */
  load(step: number, rank: number, worldSize: number): Promise<RankBatch>;
  /** Gives up what is being read ahead and waits until it is. */
  close(): Promise<void>;
}

/** The arrays of one microbatch, by the names of `TrainTask.batch`. */
export type Microbatch = Readonly<Record<string, HostArray>>;

/** A rank's part of the global batch of one step. */
export interface RankBatch {
  /** At least one. The last one may end in padding. */
  readonly microbatches: readonly Microbatch[];
  /** SHA-256 over the identities of the sequences, hexadecimal: the coordinator checks that no rank went astray. */
  readonly digest: string;
  /** What is in it, for metrics; absent where the task does not count. */
  readonly counts?: BatchCounts;
}

/** The held-out sequences of one source. */
export interface HeldOutSet {
  readonly source: SourceId;
  /** The part of the source in the mixture, a whole number; a source with 0 is not evaluated. */
  readonly weight: number;
  /** A rank's microbatches; a rank may have none. */
  microbatches(rank: number, worldSize: number): AsyncIterable<Microbatch>;
}
