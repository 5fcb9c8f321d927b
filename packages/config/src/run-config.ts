import type { DataConfig } from './data-config.js';
import type { EvaluationTask } from './evaluation-tasks.js';
import type { QueueConfig } from './queue-config.js';
import type { TaskConfig } from './task-config.js';
import type { VisionConfig } from './vision-config.js';

/**
 * One run, resolved: validated, every default filled in, nothing optional, JSON-serialisable.
 * `config.json` of a run, the wire and every checkpoint manifest hold exactly this value.
 */
export interface RunConfig {
  /** The name the run is listed under: the recipe it came from, or a name of the user's own. */
  readonly recipe: string;
  /** Seeds parameter initialisation and the order of the data; an integer in [0, 2³²). */
  readonly seed: number;
  /**
   * The checkpoint whose weights the run begins with, or one for each part of the model; null to begin from the seed.
   * Experts may begin as copies of a dense checkpoint's feed-forward, and learned positions for another grid are
   * interpolated. The moments of the optimizer and the step begin anew.
   */
  readonly initFrom: InitialWeights | null;
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** The number of ranks, `worldSize`. It changes speed, never which sequences a step consumes. */
  readonly workers: number;
  /**
   * The fewest workers the run starts with when no others come. Null (the default): all of `workers` at first, and after
   * an interruption as many as trained last.
   */
  readonly minWorkers: number | null;
  /** Processes that hold the experts of MoE layers; 0 keeps all experts in every worker. Changes speed and memory only. */
  readonly expertWorkers: number;
  /**
   * Whether every expert worker keeps a copy of another one's experts, so that one that is lost costs no step. `auto`: where
   * there are two or more, and the memory for it. Changes speed and memory only.
   */
  readonly expertCopies: boolean | 'auto';
  /** Microbatches a rank has under way at a time, so that one computes while another waits for expert workers. */
  readonly microbatchesInFlight: number;
  /** Sequences per optimizer step, over all ranks. */
  readonly globalBatchSize: number;
  /** Sequences per forward and backward pass on one rank; a rank's slice is cut into such pieces. */
  readonly microbatchSize: number;
  /**
   * The dtype of matrix multiplications; parameters, reductions and the optimizer stay fp32. `auto`: bf16 where every worker
   * computes it in instructions of its own, else fp32; decided once, when the run first gets its workers.
   */
  readonly precision: PrecisionSetting;
  /** What the backward pass computes a second time, block by block, to save memory. Changes speed and memory only. */
  readonly activationCheckpointing: ActivationCheckpointing;
  /** What is trained. */
  readonly task: TaskConfig;
  readonly model: ModelConfig;
  readonly data: DataConfig;
  readonly optimizer: OptimizerConfig;
  readonly checkpoint: CheckpointConfig;
  readonly divergence: DivergenceConfig;
  readonly stragglers: StragglerConfig;
  readonly engine: EngineConfig;
  readonly queue: QueueConfig;
  readonly evaluation: EvaluationConfig;
  /** Where an automatic learning rate came from; null for one chosen by hand. */
  readonly learningRateSource: LearningRateSource | null;
}

/** The parts of a model, whose parameters have names that begin so. */
export const MODEL_PARTS = ['vision', 'connector', 'decoder'] as const;
export type ModelPart = (typeof MODEL_PARTS)[number];

/** The directory of a checkpoint for the whole model, or for each part; a part without one begins from the seed. */
export type InitialWeights = string | Readonly<Record<ModelPart, string | null>>;

/** The checkpoint that a part begins from; null: none. */
export function initialCheckpoint(initFrom: InitialWeights | null, part: ModelPart): string | null {
  return initFrom === null || typeof initFrom === 'string' ? initFrom : initFrom[part];
}

export const PRECISIONS = ['fp32', 'bf16'] as const;
export type Precision = (typeof PRECISIONS)[number];

export const AUTOMATIC_PRECISION = 'auto';
/** The values of `precision`. */
export const PRECISION_SETTINGS = [...PRECISIONS, AUTOMATIC_PRECISION] as const;
export type PrecisionSetting = (typeof PRECISION_SETTINGS)[number];

/**
 * What is kept of every block of the decoder and of the vision encoder until the backward pass: `none` keeps all that it
 * needs; `selective` keeps products with weights and computes norms, activations and attention again; `full` keeps the
 * block's input alone.
 */
export const ACTIVATION_CHECKPOINTING = ['none', 'selective', 'full'] as const;
export type ActivationCheckpointing = (typeof ACTIVATION_CHECKPOINTING)[number];

export const CONNECTOR_KINDS = ['averagePool', 'attentionPool', 'cAbstractor'] as const;
export type ConnectorKind = (typeof CONNECTOR_KINDS)[number];

export const BACKENDS = ['auto', 'pjrt', 'tensorflow', 'javascript'] as const;
export type Backend = (typeof BACKENDS)[number];

/** The vocabulary of the built-in byte tokenizer: 256 bytes and 4 special tokens. */
export const BYTE_VOCABULARY_SIZE = 260;

export interface ModelConfig {
  /** Positions of one packed sequence, image tokens included. */
  readonly sequenceLength: number;
  readonly vision: VisionConfig;
  readonly connector: ConnectorConfig;
  readonly decoder: DecoderConfig;
}

/** Turns the encoder's patch grid into a fixed number of decoder positions. */
export interface ConnectorConfig {
  readonly kind: ConnectorKind;
  /** Decoder positions per image, 64 or 144 in MM1; a perfect square, except for `attentionPool`. */
  readonly tokensPerImage: number;
  /** Channels of the C-Abstractor's convolutions; the others ignore it. */
  readonly hiddenWidth: number;
  /** Blocks in each of the C-Abstractor's two RegStages; the others ignore it. */
  readonly depth: number;
}

/** The language model: decoder-only transformer, RMSNorm, RoPE, SwiGLU; its sizes, and in which variant. */
export interface DecoderConfig extends DecoderVariant {
  readonly vocabularySize: number;
  readonly width: number;
  readonly depth: number;
  /** Query heads. */
  readonly heads: number;
  /** The width of one head, even for RoPE; `width / heads` unless it is given. */
  readonly headWidth: number;
  /** Key and value heads; divides `heads`. Equal to `heads` means ordinary multi-head attention. */
  readonly keyValueHeads: number;
  readonly feedForwardWidth: number;
  /** The base of the rotary position frequencies. */
  readonly ropeTheta: number;
  /** Whether queries and keys are RMS-normalised per head before attention. */
  readonly qkNorm: boolean;
  /** The epsilon of every normalisation. */
  readonly normEpsilon: number;
  /** Sparse layers of routed experts in place of some feed-forward layers; null for a dense model. */
  readonly moe: MoeConfig | null;
}

/** In what published decoders differ, so that their weights fit. */
export interface DecoderVariant {
  /** How rotary positions reach beyond the length a model was first trained on; null: not at all. */
  readonly ropeScaling: RopeScaling | null;
  /** Whether the projections to queries, keys and values have biases, as in Qwen2. */
  readonly qkvBias: boolean;
  /** Whether the output head is the token embedding itself: one parameter, which gets the gradients of both uses. */
  readonly tiedEmbeddings: boolean;
}

/** The decoder that a run gets which says nothing of a variant, also one that an older version launched. */
export const DEFAULT_DECODER: DecoderVariant = { ropeScaling: null, qkvBias: false, tiedEmbeddings: false };

/**
 * The scaled frequencies of Llama 3.1: waves longer than originalLength / lowFrequencyFactor turn `factor` times more
 * slowly, those shorter than originalLength / highFrequencyFactor as ever, and those in between by a mean of the two.
 */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  /** Above `lowFrequencyFactor`. */
  readonly highFrequencyFactor: number;
  /** The sequence length of the first training. */
  readonly originalLength: number;
}

/** The capacity of experts that never drop a token: room for every token of a group. */
export const DROPLESS = 'dropless';

/**
 * Sparse feed-forward layers: every token is computed by the two experts its router prefers (GShard, ST-MoE; the
 * semantics are AXLearn's Top2Gating). An expert has the shape of the dense feed-forward layer it replaces.
 */
export interface MoeConfig {
  /** Experts of every sparse layer; at least 2. */
  readonly experts: number;
  /** Every so many-th layer is sparse, the last of each such run of layers: 2 makes layers 1, 3, 5, … sparse. */
  readonly everyLayers: number;
  /**
   * How many tokens an expert takes of a group of S tokens: max(1, ⌊S·capacityFactor/experts⌋); what is beyond is
   * dropped and goes on through the residual alone. `dropless` takes all S of them, at experts/2 times the memory and
   * compute of a factor of 2.
   */
  readonly capacityFactor: number | typeof DROPLESS;
  /**
   * Tokens that share the experts' capacity; divides the tokens of a microbatch, 0 makes the microbatch one group.
   * The length of a sequence, or a divisor of it, makes drops independent of microbatchSize and workers.
   */
  readonly groupSize: number;
  /** Weight of the load-balance loss in the training objective; 0.01 in MM1. */
  readonly loadBalanceWeight: number;
  /** Weight of the router's z-loss in the training objective; 0.001 in MM1. */
  readonly routerZWeight: number;
  /** In training, what routers read is multiplied by seeded noise from [1 − jitter, 1 + jitter); 0 turns it off. */
  readonly jitter: number;
  /** The form in which tokens travel to expert workers and back. */
  readonly exchangePrecision: Precision;
}

/** AdamW as MM1 is pre-trained, and AdaFactor as it is fine-tuned. */
export const OPTIMIZER_KINDS = ['adamw', 'adafactor'] as const;
export type OptimizerKind = (typeof OPTIMIZER_KINDS)[number];

/**
 * What updates the parameters, with fully decoupled weight decay: p ← p − s(t)·(learningRate·update(g) + weightDecay·p).
 * The schedule s(t) rises linearly to 1 over `warmupSteps`, then falls as a cosine to `finalLearningRateRatio`.
 */
export interface OptimizerConfig {
  readonly kind: OptimizerKind;
  /** The peak learning rate η. */
  readonly learningRate: number;
  /**
   * By what the learning rate and the weight decay of some parameters are multiplied, by patterns of their names such as
   * `connector` or `vision/layers/1*`; the longest that fits counts. 0 freezes: no gradient is computed, nothing is kept for
   * the optimizer and nothing is reduced.
   */
  readonly learningRateFactors: Readonly<Record<string, number>>;
  /** λ, *not* multiplied by the learning rate: 0.1·η here is what other AdamWs call a weight decay of 0.1. */
  readonly weightDecay: number;
  /** Of AdamW; AdaFactor keeps no first moment. */
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** What only AdaFactor reads. */
  readonly adafactor: AdafactorConfig;
  /** Gradients whose global L2 norm exceeds this are scaled down to it. */
  readonly clipNorm: number;
  readonly warmupSteps: number;
  /** The schedule's last value as a part of its peak. */
  readonly finalLearningRateRatio: number;
}

/** AdaFactor's own settings (Shazeer and Stern, 2018), without their relative step sizes: the learning rate is given. */
export interface AdafactorConfig {
  /** d of the decay 1 − t^−d with which step t forgets the squares of earlier gradients. */
  readonly decayExponent: number;
  /** An update of a parameter whose root mean square exceeds this is scaled down to it. */
  readonly clipThreshold: number;
  /** Added to squares of gradients. */
  readonly epsilon: number;
  /** Whether the learning rate of a parameter is multiplied by its root mean square, at least `smallestScale`. */
  readonly scaleByParameter: boolean;
  readonly smallestScale: number;
}

/** What a run is given that says nothing of AdaFactor: the paper's constants. */
export const DEFAULT_ADAFACTOR: AdafactorConfig = {
  decayExponent: 0.8,
  clipThreshold: 1,
  epsilon: 1e-30,
  scaleByParameter: false,
  smallestScale: 1e-3,
};

export interface CheckpointConfig {
  /** A checkpoint is saved after every so many steps, and always after the last one. */
  readonly everySteps: number;
  /**
   * One is also saved when the last is so many minutes old. `auto`: as often as loses the least time to saving and to steps
   * trained again, by what a save costs and how often the run was interrupted. Null: by steps alone.
   */
  readonly everyMinutes: number | typeof AUTOMATIC_INTERVAL | null;
  /** How many checkpoints are kept; older ones are removed. */
  readonly keepLast: number;
  /** Those of every so many steps are kept for good besides; 0: none. */
  readonly keepEvery: number;
}

export const AUTOMATIC_INTERVAL = 'auto';

/** What later versions added to checkpoints, as a run has it that says nothing of it. */
export const DEFAULT_CHECKPOINT: Pick<CheckpointConfig, 'everyMinutes' | 'keepEvery'> = {
  everyMinutes: null,
  keepEvery: 0,
};

/** What happens to a run whose loss or gradient norm leaves what its last steps lead one to expect. */
export interface DivergenceConfig {
  /**
   * `warn` says so. `skip` does not apply such a step either. `stop` ends the run when a spike has lasted for
   * `patienceSteps`; so does `skip`. `rollback` then goes back to a checkpoint before the spike, and goes on without the data
   * of the spike.
   */
  readonly policy: DivergencePolicy;
  /** A step is a spike when it lies so many robust standard deviations over the median of the last 100. */
  readonly threshold: number;
  /** A spike that has lasted for so many steps is called a divergence. */
  readonly patienceSteps: number;
  /** `rollback` goes back to the newest checkpoint that lies at least so many steps before the spike. */
  readonly rollbackSteps: number;
}

/** The values of `divergence.policy`. */
export const DIVERGENCE_POLICIES = ['warn', 'skip', 'rollback', 'stop'] as const;
export type DivergencePolicy = (typeof DIVERGENCE_POLICIES)[number];

/** What a run is given that says nothing of divergence, also one that an older version launched. */
export const DEFAULT_DIVERGENCE: DivergenceConfig = {
  policy: 'warn',
  threshold: 10,
  patienceSteps: 20,
  rollbackSteps: 100,
};

/** What happens to a rank that is slower than the others in every step. */
export interface StragglerConfig {
  /** A rank is slow in a step that takes it so many times as long as the others, without what it waits for them. */
  readonly factor: number;
  /** One that was slow for so many steps in a row is named. */
  readonly steps: number;
  /** `warn` says so. `leaveOut` goes on without it, unless fewer than `minWorkers` would be left. */
  readonly policy: StragglerPolicy;
}

/** The values of `stragglers.policy`. */
export const STRAGGLER_POLICIES = ['warn', 'leaveOut'] as const;
export type StragglerPolicy = (typeof STRAGGLER_POLICIES)[number];

/** What a run is given that says nothing of stragglers, also one that an older version launched. */
export const DEFAULT_STRAGGLERS: StragglerConfig = { factor: 1.5, steps: 20, policy: 'warn' };

export interface EngineConfig {
  /** `auto`: XLA by PJRT where a GPU is, else TensorFlow where its library can be had, else pure JavaScript. */
  readonly backend: Backend;
  /** Threads of the tensor library per worker; 0 shares the cores of a host among its workers. */
  readonly threadsPerWorker: number;
  /** How a worker cuts state and computation over its devices; `auto` is the least cutting that fits into their memory. */
  readonly mesh: MeshConfig | typeof AUTOMATIC_MESH;
  /**
   * What sums gradients between workers: `nccl` in the memory of their GPUs, over the cluster's own fabric; `ring` through
   * the hosts, on any network. `auto`: NCCL where every worker has GPUs and the library, else the ring.
   */
  readonly collectives: Collectives;
}

/** The values of `engine.collectives`. */
export const COLLECTIVES = ['auto', 'nccl', 'ring'] as const;
export type Collectives = (typeof COLLECTIVES)[number];

export const AUTOMATIC_MESH = 'auto';

/** The sizes of a mesh's axes. Their product is the number of the worker's devices. Changes speed and memory only. */
export interface MeshConfig {
  /** Parameters, gradients and moments are cut over it (fully sharded data parallelism), and the batch. */
  readonly fsdp: number;
  /** Attention heads, feed-forward features and the vocabulary are cut over it. */
  readonly tensor: number;
  /** Experts are cut over it, and the batch. */
  readonly expert: number;
}

/** The mesh of a worker that uses one device. */
export const ONE_DEVICE: MeshConfig = { fsdp: 1, tensor: 1, expert: 1 };

/** The devices of a mesh. */
export function meshSize({ fsdp, tensor, expert }: MeshConfig): number {
  return fsdp * tensor * expert;
}

/**
 * Validation: the loss on held-out data, and scores of tasks. Which sequences are held out follows from the data alone, so
 * that runs compare.
 */
export interface EvaluationConfig {
  /** The loss is measured after every so many steps and after the last one; 0: after the last one only. */
  readonly everySteps: number;
  /** Sequences of each source with a weight that are never trained on; 0: none, and nothing is measured. */
  readonly sequencesPerSource: number;
  /** What the model is asked, by name; a generation or likelihood is scored for every example. */
  readonly tasks: Readonly<Record<string, EvaluationTask>>;
  /** How many solved examples stand before the one that is asked: the tasks are scored for each of these numbers. */
  readonly shots: readonly number[];
  /** The tasks are scored after every so many steps and after the last one; 0: after the last one only. */
  readonly tasksEverySteps: number;
  /** The first so many examples of every task are scored; null: all. */
  readonly examplesPerTask: number | null;
  /** Of the draw of shots: the same for all runs, so that they compare. */
  readonly shotSeed: number;
}

/** What a run is given that says nothing of evaluation, also one that an older version launched. */
export const DEFAULT_EVALUATION: EvaluationConfig = {
  everySteps: 0,
  sequencesPerSource: 0,
  tasks: {},
  shots: [0, 4, 8],
  tasksEverySteps: 0,
  examplesPerTask: null,
  shotSeed: 0,
};

/** How a learning rate that was written as `auto` came about. It explains a run, and changes nothing in it. */
export interface LearningRateSource {
  /** What the law gave. The source is forgotten when `optimizer.learningRate` is changed by hand. */
  readonly value: number;
  /** The law's name: a published one such as `mm1`, or the file of a fit of one's own. */
  readonly fit: string;
  /** The law itself, such as η = 0.5749·N^-0.4214. */
  readonly formula: string;
  /** Where the law comes from, one sentence. */
  readonly source: string;
  /** N of this run's model: the decoder without embeddings, experts counted as the dense layer they stand for. */
  readonly params: number;
  /** D of this run: positions of all its sequences. */
  readonly tokens: number;
  /** The prediction interval; null for a published law whose residuals are not. */
  readonly interval: { readonly low: number; readonly high: number; readonly level: number } | null;
  /** How many times larger, or smaller, the run is than all the law was fitted to; 1 where it lies within. */
  readonly extrapolation: number;
}

type DeepPartial<T> = T extends object ? { readonly [Key in keyof T]?: DeepPartial<T[Key]> } : T;

/** What a person writes: any part of a `RunConfig`. The rest comes from the defaults. */
export type RunConfigInput = DeepPartial<RunConfig>;
