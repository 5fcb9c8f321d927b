import type {
  CheckpointConfig,
  DataConfig,
  DecoderConfig,
  DecoderVariant,
  EngineConfig,
  ModelConfig,
  OptimizerConfig,
  RunConfig,
  TaskConfig,
  VisionConfig,
  VisionVariant,
} from '@weft/config';

/** What whoever launches a run decides. */
type Elsewhere =
  | 'initFrom'
  | 'minWorkers'
  | 'activationCheckpointing'
  | 'expertWorkers'
  | 'expertCopies'
  | 'microbatchesInFlight'
  | 'queue'
  | 'evaluation'
  | 'task'
  | 'learningRateSource';

/**
 * A complete run as a recipe writes it. Two fields may be left to the house rule, so that they follow
 * when a person changes what they depend on: `optimizer.weightDecay` is 0.1·learningRate (MM1's law),
 * and `optimizer.warmupSteps` a twentieth of the steps, at most 2,000. How a run queues, is evaluated,
 * on how many devices and where its experts live is not a recipe's business; nor are the variants in which
 * published encoders and decoders differ, how images are prepared for them, and which
 * parameters have a rate of their own.
 */
export interface WholeConfig
  extends Omit<RunConfig, 'optimizer' | 'engine' | 'model' | 'data' | 'checkpoint' | Elsewhere> {
  /** Default: 0, every worker holds all experts. */
  readonly expertWorkers?: number;
  readonly checkpoint: Pick<CheckpointConfig, 'everySteps' | 'keepLast'>;
  readonly data: Omit<
    DataConfig,
    | 'images'
    | 'chatTemplate'
    | 'skippedBatches'
    | 'datasets'
    | 'index'
    | 'indexVersion'
    | 'mixtureChanges'
    | 'remote'
    | 'shuffle'
  > & {
    readonly images?: Pick<DataConfig['images'], 'subImages'>;
  };
  readonly model: Omit<ModelConfig, 'vision' | 'decoder'> & {
    readonly vision: Omit<VisionConfig, keyof VisionVariant>;
    readonly decoder: Omit<DecoderConfig, keyof DecoderVariant | 'headWidth'>;
  };
  readonly engine: Omit<EngineConfig, 'mesh' | 'collectives'> & Partial<EngineConfig>;
  readonly optimizer: Omit<
    OptimizerConfig,
    'weightDecay' | 'warmupSteps' | 'learningRateFactors' | 'kind' | 'adafactor'
  > &
    Partial<Pick<OptimizerConfig, 'weightDecay' | 'warmupSteps' | 'kind'>>;
}

type ContrastiveTask = Extract<TaskConfig, { kind: 'contrastive' }>;

/** A run that trains an image encoder alone: without connector and decoder, on pairs of one image and its caption. */
export interface EncoderConfig extends Omit<WholeConfig, 'model' | 'data'> {
  readonly task:
    | Extract<TaskConfig, { kind: 'reconstructive' }>
    | (Omit<ContrastiveTask, 'initialScale' | 'text'> & {
        readonly text: Omit<ContrastiveTask['text'], 'activation' | 'normEpsilon'>;
      });
  readonly data: Omit<WholeConfig['data'], 'imagesPerSequence'>;
  readonly model: {
    /** Of a caption; a task that reads none leaves it out. */
    readonly sequenceLength?: number;
    readonly vision: Omit<VisionConfig, keyof VisionVariant> & Partial<VisionVariant>;
  };
}
