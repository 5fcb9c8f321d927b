import type { SourceId } from '@weft/common';
import type { MoeLayerStats } from '@weft/contracts';
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
  /** The arrays of one microbatch, all of them fed when a pass begins. */
  readonly batch: Readonly<Record<string, TensorSpec>>;
  /** Elements of `Objective.stats`; 0 where the task has none. */
  readonly statsLength: number;
  /** The MoE layers whose experts live in other processes; undefined where the rank computes everything itself. */
  readonly remoteExperts: RemoteExpertLayers | undefined;
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
}

/** How a rank and its remote experts meet: see `exchangeNames` for what leaves and enters a phase at each layer. */
export interface RemoteExpertLayers {
  /** The decoder layers, ascending. */
  readonly layers: readonly number[];
  /** The pending inputs of a forward and backward pass. */
  readonly trainInputs: Readonly<Record<string, TensorSpec>>;
  /** The pending inputs of a forward pass alone. */
  readonly evaluateInputs: Readonly<Record<string, TensorSpec>>;
}

/** The data of a run on one worker, open. */
export interface TaskData {
  /** Names the data set and its order. A checkpoint of another one is refused. */
  readonly identity: string;
  /** A reader for one generation; it reads ahead. */
  openLoader(): BatchLoader;
  /** What is never trained on, one set for each source, in the order of the configuration. */
  readonly heldOut: readonly HeldOutSet[];
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
  /** At least one. All have the same shapes; the last one may end in padding. */
  readonly microbatches: readonly Microbatch[];
  /** SHA-256 over the identities of the sequences, hexadecimal: the coordinator checks that no rank went astray. */
  readonly digest: string;
}

/** The held-out sequences of one source. */
export interface HeldOutSet {
  readonly source: SourceId;
  /** The part of the source in the mixture, a whole number; a source with 0 is not evaluated. */
  readonly weight: number;
  /** A rank's microbatches; a rank may have none. */
  microbatches(rank: number, worldSize: number): AsyncIterable<Microbatch>;
}
