import type { PerSource } from '@weft/common';
import type { ShuffleBlocks } from '@weft/mixture';

/**
 * What a source holds: images with captions, documents of text and images, text, or conversations about images. It says
 * how shards are read.
 */
export const SOURCE_KINDS = ['captioned', 'interleaved', 'text', 'conversations'] as const;
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

/**
 * The most images one packed sequence may hold. MM1's pre-training has up to 16, which is the default; more than that are
 * views of pictures that are cut.
 */
export const MAX_IMAGES_PER_SEQUENCE = 1024;
export const DEFAULT_IMAGES_PER_SEQUENCE = 16;

export interface DataConfig {
  /**
   * Holds a folder of shards for each source, named for it, and `index/`. An address such as `s3://bucket/prefix` holds the
   * shards alone.
   */
  readonly directory: string;
  /** `bytes` for the built-in byte tokenizer, or the path of a `tokenizer.json`. */
  readonly tokenizer: string;
  /** What each source holds, by its name; the order is that of the mixture. Default: `captioned`, `interleaved`, `text`. */
  readonly sources: PerSource<SourceKind>;
  /** The mixture in whole numbers, one for each source, for instance 4:4:1; 0 leaves a source out. */
  readonly weights: PerSource<number>;
  /** The most images one packed sequence may hold; where pictures are cut, each of their views is one. */
  readonly imagesPerSequence: number;
  /** How a picture becomes the square that the encoder reads. */
  readonly images: ImagePreprocessing;
  /** How the turns of a conversation become one text. */
  readonly chatTemplate: ChatTemplate;
  /** Steps decoded ahead of the one being trained. */
  readonly prefetchSteps: number;
  /** How the datasets of the sources are read, by their names; one that is not here is read by `DEFAULT_DATASET`. */
  readonly datasets: PerSource<DatasetSettings>;
  /** The folder that holds the packed index, for data that cannot be written to; null: `<data.directory>/index`. */
  readonly index: string | null;
  /** How shards at addresses are read. */
  readonly remote: RemoteSettings;
  /**
   * How far the order of a run carries sequences. Null: over the whole source, so that two sequences one after the other lie anywhere
   * in it. In blocks, reads stay in few parts of the data, which a cache that is smaller than the data asks for.
   */
  readonly shuffle: ShuffleBlocks | null;
  /**
   * Batches that no step consumes, in rising order, without `end`. Batch b is what step b consumes while none before it is
   * skipped. A run that goes back before a spike adds those of the spike.
   */
  readonly skippedBatches: readonly SkippedBatches[];
  /**
   * The version of the packed index that the run begins with: `weft data index` makes another one where shards were added. Null:
   * the newest one, which `weft launch` writes down.
   */
  readonly indexVersion: number | null;
  /** What of the mixture changes while the run trains, in rising order. `weft data reweight` adds to it. */
  readonly mixtureChanges: readonly MixtureChange[];
}

/** From one batch on other weights, or a newer version of the index, whose shards are read too. */
export interface MixtureChange {
  /** From 1. */
  readonly fromBatch: number;
  /** As `DataConfig.weights`. */
  readonly weights: PerSource<number>;
  readonly indexVersion: number | null;
}

export interface SkippedBatches {
  /** From 1. */
  readonly first: number;
  readonly end: number;
}

/** How shards at `s3://`, `gs://`, `https://` and `hf://` are read. No field holds a secret: credentials come from the host. */
export interface RemoteSettings {
  /** The address of an S3 server; null: that of the environment, or Amazon's. */
  readonly endpoint: string | null;
  /** The region of the buckets; null: that of the environment, or of the bucket. */
  readonly region: string | null;
  /**
   * The folder of every host that keeps what was fetched, in `weft-blocks` below it; null: `data` in `$WEFT_CACHE_DIR`, or in
   * `~/.cache/weft`.
   */
  readonly cacheDirectory: string | null;
  /** The most bytes that it holds. */
  readonly cacheBytes: number;
}

/** How shards at addresses are read where a run says nothing of it. */
export const DEFAULT_REMOTE: RemoteSettings = {
  endpoint: null,
  region: null,
  cacheDirectory: null,
  cacheBytes: 64 * 2 ** 30,
};

/** The blocks of a shuffle of which not all is said. */
export const DEFAULT_SHUFFLE_BLOCKS: ShuffleBlocks = { blockSequences: 64, windowBlocks: 64 };

/** Where the name of a member splits into the key of its sample and what it is: `a.b.jpg` is `b.jpg` of `a`, or `jpg` of `a.b`. */
export const KEY_ENDS = ['firstDot', 'lastDot'] as const;
/** What a bad sample does: end the indexing with its reason, or be left out and counted. */
export const BAD_SAMPLES = ['refuse', 'skip'] as const;

/** How one dataset is read: the files in a folder of its own. A source has one of its name, or several that name it. */
export interface DatasetSettings {
  /** The source it belongs to; null: the one of its name. */
  readonly source: string | null;
  /**
   * Its share of the sequences of its source, beside the other datasets there. Null in a complete configuration: there every
   * dataset is a source of its own in `data.sources` and `data.weights`.
   */
  readonly weight: number | null;
  /** How often a run may read it from beginning to end; null: as often as its weight asks. */
  readonly epochs: number | null;
  /** The folder of its shards, or its address; null: the one of its name in `data.directory`. */
  readonly directory: string | null;
  /**
   * Which files of an address are shards: a pattern such as `train-{000000..000099}.tar`, or a file that lists them; null: all
   * that its kind reads. Needed where a server has no listings.
   */
  readonly shards: string | null;
  /** The field, or the column, that holds the text of a text document. */
  readonly textField: string;
  /** The field of a `.json` member that holds the caption; null: `caption`, else `text`. */
  readonly captionField: string | null;
  /** The member that holds the caption, such as `outputs.txt`; null: `.txt`, else a field of `.json`, else the one that ends in `.txt`. */
  readonly captionMember: string | null;
  /** The member that holds the image, such as `input.jpg`; null: the one that is an image. */
  readonly imageMember: string | null;
  readonly keyEndsAt: (typeof KEY_ENDS)[number];
  readonly badSamples: (typeof BAD_SAMPLES)[number];
  /** Of the samples of the dataset, the share that may be bad where `badSamples` is `skip`; ten always may. */
  readonly largestBadShare: number;
  /** How many samples in a row may be bad where `badSamples` is `skip`. */
  readonly longestBadRun: number;
}

/** How a dataset is read of which a run says nothing. */
export const DEFAULT_DATASET: DatasetSettings = {
  source: null,
  weight: 1,
  epochs: null,
  directory: null,
  shards: null,
  textField: 'text',
  captionField: null,
  captionMember: null,
  imageMember: null,
  keyEndsAt: 'firstDot',
  badSamples: 'refuse',
  largestBadShare: 0.01,
  longestBadRun: 100,
};

/** The settings of a dataset of a run. */
export function datasetSettings({ datasets }: Pick<DataConfig, 'datasets'>, name: string): DatasetSettings {
  return { ...DEFAULT_DATASET, ...(Object.hasOwn(datasets, name) ? datasets[name] : undefined) };
}

/**
 * `stretch`: the whole picture becomes a square. `crop`: its shorter side becomes as long as the square's, and of the
 * longer one the middle is kept.
 */
export const IMAGE_FITS = ['stretch', 'crop'] as const;
/** `bicubic` is that of Python's PIL, byte for byte. */
export const INTERPOLATIONS = ['lanczos', 'bicubic'] as const;

/** An encoder expects the preprocessing it was trained with, so imported weights come with theirs. */
export interface ImagePreprocessing {
  readonly fit: (typeof IMAGE_FITS)[number];
  readonly interpolation: (typeof INTERPOLATIONS)[number];
  /** Subtracted from channel values in [0, 1]. */
  readonly mean: PerColour;
  /** What the rest is divided by. */
  readonly deviation: PerColour;
  /** Into how many views a picture is cut, each as large as what the encoder reads; null: the whole picture is the only one. */
  readonly subImages: SubImageGrid | null;
}

/**
 * Views of a large picture (SPHINX; MM1's fine-tuning): the whole one as an overview, then the parts of a grid, row by row.
 * With 2 rows and 2 columns and an encoder of 672 pixels a picture is read at 1344 pixels, as five images.
 */
export interface SubImageGrid {
  readonly rows: number;
  readonly columns: number;
}

/** How many images of the encoder a picture becomes. */
export function viewsPerPicture({ subImages }: Pick<ImagePreprocessing, 'subImages'>): number {
  return subImages === null ? 1 : 1 + subImages.rows * subImages.columns;
}

export interface PerColour {
  readonly red: number;
  readonly green: number;
  readonly blue: number;
}

const HALF: PerColour = { red: 0.5, green: 0.5, blue: 0.5 };

/** What a run is given that says nothing of images, also one that an older version launched: values in [−1, 1]. */
export const DEFAULT_IMAGES: ImagePreprocessing = {
  fit: 'stretch',
  interpolation: 'lanczos',
  mean: HALF,
  deviation: HALF,
  subImages: null,
};

/** What stands for the text of a message in a chat template. */
export const MESSAGE_TEXT = '{TEXT}';

/**
 * How the turns of a conversation become one text. Each field but `systemMessage` is a text around `{TEXT}`, the message. The
 * loss counts answers alone: what stands for {TEXT} in `assistant`, what follows it there, and the token that ends a text,
 * which closes every answer.
 */
export interface ChatTemplate {
  readonly system: string;
  /** What the system says where a conversation does not say it; empty: nothing, and `system` is left out. */
  readonly systemMessage: string;
  readonly user: string;
  readonly assistant: string;
}

/** What a run is given that says nothing of a template, also one that an older version launched. MM1's is not published. */
export const DEFAULT_CHAT_TEMPLATE: ChatTemplate = {
  system: '{TEXT}\n',
  systemMessage: '',
  user: 'USER: {TEXT}\n',
  assistant: 'ASSISTANT: {TEXT}',
};

/** Whether a run trains on conversations: its model is then asked as `data.chatTemplate` says. */
export function isChat({ sources, weights }: Pick<DataConfig, 'sources' | 'weights'>): boolean {
  return Object.entries(sources).some(([name, kind]) => kind === 'conversations' && (weights[name] ?? 0) > 0);
}
