import type { PerSource } from '@weft/common';

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
   * The directory of a checkpoint whose weights the run begins with, null to begin from the seed. Experts may begin as
   * copies of a dense checkpoint's feed-forward. The moments of the optimizer and the step begin anew.
   */
  readonly initFrom: string | null;
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
  /** Microbatches a rank has under way at a time, so that one computes while another waits for expert workers. */
  readonly microbatchesInFlight: number;
  /** Sequences per optimizer step, over all ranks. */
  readonly globalBatchSize: number;
  /** Sequences per forward and backward pass on one rank; a rank's slice is cut into such pieces. */
  readonly microbatchSize: number;
  /** The dtype of matrix multiplications; parameters, reductions and the optimizer stay fp32. */
  readonly precision: Precision;
  /** What the backward pass computes a second time, block by block, to save memory. Changes speed and memory only. */
  readonly activationCheckpointing: ActivationCheckpointing;
  readonly model: ModelConfig;
  readonly data: DataConfig;
  readonly optimizer: OptimizerConfig;
  readonly checkpoint: CheckpointConfig;
  readonly engine: EngineConfig;
  readonly queue: QueueConfig;
  readonly evaluation: EvaluationConfig;
  /** Where an automatic learning rate came from; null for one chosen by hand. */
  readonly learningRateSource: LearningRateSource | null;
}

export const PRECISIONS = ['fp32', 'bf16'] as const;
export type Precision = (typeof PRECISIONS)[number];

/**
 * What is kept of every block of the decoder and of the vision encoder until the backward pass: `none` keeps all that it
 * needs; `selective` keeps products with weights and computes norms, activations and attention again; `full` keeps the
 * block's input alone.
 */
export const ACTIVATION_CHECKPOINTING = ['none', 'selective', 'full'] as const;
export type ActivationCheckpointing = (typeof ACTIVATION_CHECKPOINTING)[number];

/** What a source holds: images with captions, documents of text and images, or text. It says how shards are read. */
export const SOURCE_KINDS = ['captioned', 'interleaved', 'text'] as const;
export type SourceKind = (typeof SOURCE_KINDS)[number];

/** The sources of a run that names none of its own: each is called as its kind. */
export const DEFAULT_SOURCE_KINDS: PerSource<SourceKind> = {
  captioned: 'captioned',
  interleaved: 'interleaved',
  text: 'text',
};

/** Whether a run has the default sources: names, kinds and order. */
export function hasDefaultSources({ sources }: Pick<DataConfig, 'sources'>): boolean {
  return JSON.stringify(sources) === JSON.stringify(DEFAULT_SOURCE_KINDS);
}

export const CONNECTOR_KINDS = ['averagePool', 'cAbstractor'] as const;
export type ConnectorKind = (typeof CONNECTOR_KINDS)[number];

export const BACKENDS = ['auto', 'pjrt', 'tensorflow', 'javascript'] as const;
export type Backend = (typeof BACKENDS)[number];

/** The most images one packed sequence may hold, as in MM1's pre-training. */
export const MAX_IMAGES_PER_SEQUENCE = 16;

/** The vocabulary of the built-in byte tokenizer: 256 bytes and 4 special tokens. */
export const BYTE_VOCABULARY_SIZE = 260;

export interface ModelConfig {
  /** Positions of one packed sequence, image tokens included. */
  readonly sequenceLength: number;
  readonly vision: VisionConfig;
  readonly connector: ConnectorConfig;
  readonly decoder: DecoderConfig;
}

/** The vision encoder, a ViT without a class token. */
export interface VisionConfig {
  /** Height and width of the square input, pixels. */
  readonly imageSize: number;
  /** Height and width of one patch, pixels; divides `imageSize`. */
  readonly patchSize: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly feedForwardWidth: number;
}

/** Turns the encoder's patch grid into a fixed number of decoder positions. */
export interface ConnectorConfig {
  readonly kind: ConnectorKind;
  /** Decoder positions per image; a perfect square, 144 in MM1. */
  readonly tokensPerImage: number;
  /** Channels of the C-Abstractor's convolutions; `averagePool` ignores it. */
  readonly hiddenWidth: number;
  /** Blocks in each of the C-Abstractor's two RegStages; `averagePool` ignores it. */
  readonly depth: number;
}

/** The language model: decoder-only transformer, RMSNorm, RoPE, SwiGLU. */
export interface DecoderConfig {
  readonly vocabularySize: number;
  readonly width: number;
  readonly depth: number;
  /** Query heads; `width / heads` is the width of one head and must be even for RoPE. */
  readonly heads: number;
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

export interface DataConfig {
  /** Holds a folder of shards for each source, named for it, and `index/`. */
  readonly directory: string;
  /** `bytes` for the built-in byte tokenizer, or the path of a `tokenizer.json`. */
  readonly tokenizer: string;
  /** What each source holds, by its name; the order is that of the mixture. Default: `captioned`, `interleaved`, `text`. */
  readonly sources: PerSource<SourceKind>;
  /** The mixture in whole numbers, one for each source, for instance 4:4:1; 0 leaves a source out. */
  readonly weights: PerSource<number>;
  /** The most images one packed sequence may hold. */
  readonly imagesPerSequence: number;
  /** Steps decoded ahead of the one being trained. */
  readonly prefetchSteps: number;
}

/**
 * Fully decoupled AdamW, as AXLearn trains MM1: p ← p − s(t)·(learningRate·adam(g) + weightDecay·p).
 * The schedule s(t) rises linearly to 1 over `warmupSteps`, then falls as a cosine to `finalLearningRateRatio`.
 */
export interface OptimizerConfig {
  /** The peak learning rate η. */
  readonly learningRate: number;
  /** λ, *not* multiplied by the learning rate: 0.1·η here is what other AdamWs call a weight decay of 0.1. */
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Gradients whose global L2 norm exceeds this are scaled down to it. */
  readonly clipNorm: number;
  readonly warmupSteps: number;
  /** The schedule's last value as a part of its peak. */
  readonly finalLearningRateRatio: number;
}

export interface CheckpointConfig {
  /** A checkpoint is saved after every so many steps, and always after the last one. */
  readonly everySteps: number;
  /** How many checkpoints are kept; older ones are removed. */
  readonly keepLast: number;
}

export interface EngineConfig {
  /** `auto`: XLA by PJRT where a GPU is, else TensorFlow where its library can be had, else pure JavaScript. */
  readonly backend: Backend;
  /** Threads of the tensor library per worker; 0 shares the cores of a host among its workers. */
  readonly threadsPerWorker: number;
  /** How a worker cuts state and computation over its devices; `auto` is the least cutting that fits into their memory. */
  readonly mesh: MeshConfig | typeof AUTOMATIC_MESH;
}

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

/** How a run waits for its workers. It changes when a run trains, never what. */
export interface QueueConfig {
  /** Higher starts first, and takes the workers of lower ones at their next checkpoint; from −1000 to 1000. */
  readonly priority: number;
  /** How often the run is tried in all when it fails; after a failure it goes on from its newest checkpoint. */
  readonly maxAttempts: number;
  /** Seconds between the first failure and the second attempt; doubles with each further one. */
  readonly backoffSeconds: number;
  /** It does not start before this moment, ISO 8601 with its offset from UTC; null: as soon as it can. */
  readonly notBefore: string | null;
}

/** What a run is given that says nothing of the queue, also one that an older version launched. */
export const DEFAULT_QUEUE: QueueConfig = { priority: 0, maxAttempts: 1, backoffSeconds: 30, notBefore: null };

/** Validation on held-out data. Which sequences are held out follows from the data alone, so that runs compare. */
export interface EvaluationConfig {
  /** Measured after every so many steps and after the last one; 0: after the last one only. */
  readonly everySteps: number;
  /** Sequences of each source with a weight that are never trained on; 0: none, and nothing is measured. */
  readonly sequencesPerSource: number;
}

/** What a run is given that says nothing of evaluation, also one that an older version launched. */
export const DEFAULT_EVALUATION: EvaluationConfig = { everySteps: 0, sequencesPerSource: 0 };

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
