import type { PerSource } from '@weft/common';
import type { EvaluationConfig } from './evaluation-config.js';
import type { LearningRateSource } from './learning-rate-source.js';
import type { MoeConfig } from './moe-config.js';
import type { QueueConfig } from './queue-config.js';

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

export const BACKENDS = ['auto', 'tensorflow', 'javascript'] as const;
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
  /** `auto`: TensorFlow where its library can be had, otherwise pure JavaScript. */
  readonly backend: Backend;
  /** Threads of the tensor library per worker; 0 shares the cores of a host among its workers. */
  readonly threadsPerWorker: number;
}

type DeepPartial<T> = T extends object ? { readonly [Key in keyof T]?: DeepPartial<T[Key]> } : T;

/** What a person writes: any part of a `RunConfig`. The rest comes from the defaults. */
export type RunConfigInput = DeepPartial<RunConfig>;
