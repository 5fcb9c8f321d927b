import { z } from 'zod';
import {
  BAD_SAMPLES,
  DEFAULT_CHAT_TEMPLATE,
  DEFAULT_DATASET,
  DEFAULT_IMAGES,
  DEFAULT_IMAGES_PER_SEQUENCE,
  DEFAULT_REMOTE,
  DEFAULT_SHUFFLE_BLOCKS,
  DEFAULT_SOURCE_KINDS,
  IMAGE_FITS,
  INTERPOLATIONS,
  KEY_ENDS,
  MAX_IMAGES_PER_SEQUENCE,
  MESSAGE_TEXT,
  SOURCE_KINDS,
} from './data-config.js';
import { group, numberFrom, oneOf, orEmpty, positiveNumber, text, wholeNumber } from './schema-fields.js';

/** What is fetched comes in blocks of 8 MiB; some must fit beside those that are being read. */
const SMALLEST_CACHE_BYTES = 64 * 2 ** 20;
const MOST_SHUFFLED = 2 ** 24;

const weight = () => wholeNumber(0, 1_000_000);
/** The names are checked by `mixture-rules.ts`. */
const perSource = <Value extends z.ZodType>(value: Value, error: string) => z.record(z.string(), value, { error });

const perColour = (value: () => z.ZodType<number>) => group({ red: value(), green: value(), blue: value() });

/** Rows or columns of a picture's views. */
const LARGEST_GRID = 16;

const images = group({
  fit: oneOf(IMAGE_FITS).default(DEFAULT_IMAGES.fit),
  interpolation: oneOf(INTERPOLATIONS).default(DEFAULT_IMAGES.interpolation),
  mean: perColour(() => numberFrom(0, 1, { inclusive: true })).default(DEFAULT_IMAGES.mean),
  deviation: perColour(positiveNumber).default(DEFAULT_IMAGES.deviation),
  subImages: group({ rows: wholeNumber(1, LARGEST_GRID), columns: wholeNumber(1, LARGEST_GRID) })
    .nullable()
    .default(DEFAULT_IMAGES.subImages),
});

const aroundMessage = (standard: string) => {
  const error = `a text with one ${MESSAGE_TEXT}`;
  return z
    .string({ error })
    .refine((template) => template.split(MESSAGE_TEXT).length === 2, { error })
    .default(standard);
};

const chatTemplate = group({
  system: aroundMessage(DEFAULT_CHAT_TEMPLATE.system),
  systemMessage: z.string({ error: 'a text, which may be empty' }).default(DEFAULT_CHAT_TEMPLATE.systemMessage),
  user: aroundMessage(DEFAULT_CHAT_TEMPLATE.user),
  assistant: aroundMessage(DEFAULT_CHAT_TEMPLATE.assistant),
});

const dataset = group({
  source: text('the name of a source').nullable().default(DEFAULT_DATASET.source),
  weight: positiveNumber().nullable().default(DEFAULT_DATASET.weight),
  epochs: positiveNumber().nullable().default(DEFAULT_DATASET.epochs),
  directory: text('the folder of the shards of the dataset').nullable().default(DEFAULT_DATASET.directory),
  shards: text('a pattern of names, such as train-{000000..000099}.tar, or a file that lists them')
    .nullable()
    .default(DEFAULT_DATASET.shards),
  textField: text('the name of a field or column').default(DEFAULT_DATASET.textField),
  captionField: text('the name of a field').nullable().default(DEFAULT_DATASET.captionField),
  captionMember: text('what follows the key in the name of a member').nullable().default(DEFAULT_DATASET.captionMember),
  imageMember: text('what follows the key in the name of a member').nullable().default(DEFAULT_DATASET.imageMember),
  keyEndsAt: oneOf(KEY_ENDS).default(DEFAULT_DATASET.keyEndsAt),
  badSamples: oneOf(BAD_SAMPLES).default(DEFAULT_DATASET.badSamples),
  largestBadShare: numberFrom(0, 1, { inclusive: true }).default(DEFAULT_DATASET.largestBadShare),
  longestBadRun: wholeNumber(1).default(DEFAULT_DATASET.longestBadRun),
});

const remote = group({
  endpoint: text('the address of an S3 server, such as http://minio:9000')
    .refine((address) => !/[@?#]/.test(address), {
      error:
        'the address of an S3 server without @, ? and #, such as http://minio:9000: configurations are shown and stored; credentials come from the host, for instance as AWS_ACCESS_KEY_ID',
      params: { mayBeSecret: true },
    })
    .nullable()
    .default(DEFAULT_REMOTE.endpoint),
  region: text('the name of a region').nullable().default(DEFAULT_REMOTE.region),
  cacheDirectory: text('a folder of every host').nullable().default(DEFAULT_REMOTE.cacheDirectory),
  cacheBytes: wholeNumber(SMALLEST_CACHE_BYTES, Number.MAX_SAFE_INTEGER).default(DEFAULT_REMOTE.cacheBytes),
});

/** What a person may write of the data of a run, field by field. */
export const dataSchema = group({
  directory: text('the folder that holds a folder of shards for each source'),
  tokenizer: text('bytes, or the path of a tokenizer.json').default('bytes'),
  sources: perSource(oneOf(SOURCE_KINDS), 'a group of names and kinds, such as {web: text}').default({
    ...DEFAULT_SOURCE_KINDS,
  }),
  weights: perSource(weight(), 'a group of weights, one for each source, or a ratio such as 4:4:1').default({
    captioned: 4,
    interleaved: 4,
    text: 1,
  }),
  imagesPerSequence: wholeNumber(1, MAX_IMAGES_PER_SEQUENCE).default(DEFAULT_IMAGES_PER_SEQUENCE),
  images: orEmpty(images),
  chatTemplate: orEmpty(chatTemplate),
  prefetchSteps: wholeNumber(0, 64).default(2),
  datasets: perSource(dataset, 'a group of datasets, such as {text: {textField: content}}').default({}),
  index: text('the folder that holds the packed index').nullable().default(null),
  remote: orEmpty(remote),
  shuffle: group({
    blockSequences: wholeNumber(1, MOST_SHUFFLED).default(DEFAULT_SHUFFLE_BLOCKS.blockSequences),
    windowBlocks: wholeNumber(1, MOST_SHUFFLED).default(DEFAULT_SHUFFLE_BLOCKS.windowBlocks),
  })
    .nullable()
    .default(null),
  skippedBatches: z
    .array(group({ first: wholeNumber(1), end: wholeNumber(2) }), {
      error: 'a list of ranges, such as {first: 41, end: 43}',
    })
    .default([]),
  indexVersion: wholeNumber(1).nullable().default(null),
  mixtureChanges: z
    .array(
      group({
        fromBatch: wholeNumber(1),
        weights: perSource(weight(), 'a group of whole weights, one for each source'),
        indexVersion: wholeNumber(1).nullable().default(null),
      }),
      { error: 'a list of changes, such as {fromBatch: 1001, weights: {captioned: 5, interleaved: 5, text: 1}}' },
    )
    .default([]),
});
