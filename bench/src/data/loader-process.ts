// Weft's loader as one candidate of `npm run bench:data`: for every line it is sent, it reads all pictures once, and prints how
// long that took. The dataset is opened anew each time, so that no picture comes from its cache.
import { createInterface } from 'node:readline';
import { Dataset, openTokenizer, readBatch } from '@weft/data';
import { dataSettings } from './settings.js';

/** The argument of both candidates. */
export interface LoaderBench {
  readonly directory: string;
  readonly index: string;
  readonly shards: readonly string[];
  readonly tokenizer: string;
  readonly imageSize: number;
  readonly batch: number;
  readonly samples: number;
  /** Of Python's DataLoader. */
  readonly workers: number;
}

/** From both candidates, for every line. */
export interface LoaderRound {
  readonly images: number;
  readonly seconds: number;
}

/** Batches that are read while one is taken, as by default. */
const AHEAD = 2;

const bench: LoaderBench = JSON.parse(process.argv[2] ?? '{}');
const config = dataSettings({ ...bench, kind: 'captioned' });
const tokenizer = await openTokenizer(bench.tokenizer);
/** Sequences that hold about as many pictures as a batch of the other. */
const rowsPerBatch = Math.max(1, Math.round(bench.batch / config.data.imagesPerSequence));

async function round(): Promise<LoaderRound> {
  const dataset = await Dataset.open(config);
  try {
    const total = dataset.sequences.captioned ?? 0;
    const rowsOf = async (first: number) => {
      const rows = Array.from({ length: Math.max(0, Math.min(rowsPerBatch, total - first)) }, (_, i) => ({
        source: 'captioned',
        index: first + i,
      }));
      return rows.length === 0 ? undefined : readBatch(dataset, rows, { microbatchSize: rowsPerBatch });
    };
    const caption = async (index: number) => {
      const { segments } = await dataset.readSequence('captioned', index);
      return segments.map(({ entries }) => dataset.tokenizer.decode(entries.filter((id) => id >= 0)));
    };
    // The threads start with the first picture, as Python's workers are there before the first round.
    await readBatch(dataset, [{ source: 'captioned', index: 0 }], { microbatchSize: 1 });
    // Weft tokenized the captions when it made the index. Here it does so again, so that both do the same work.
    const texts: string[] = [];
    for (let index = 0; index < total; index++) texts.push(...(await caption(index)));
    const warm = dataset.decoded.images;
    const beganMs = performance.now();
    const ahead = Array.from({ length: AHEAD }, (_, i) => rowsOf(i * rowsPerBatch));
    let taken = 0;
    for (let first = AHEAD * rowsPerBatch; ahead.length > 0; first += rowsPerBatch) {
      const batch = await ahead.shift();
      if (batch === undefined) continue;
      if (first < total) ahead.push(rowsOf(first));
      for (const count of batch.images) for (let i = 0; i < count; i++) tokenizer.encode(texts[taken++] ?? '');
    }
    return { images: dataset.decoded.images - warm, seconds: (performance.now() - beganMs) / 1000 };
  } finally {
    await dataset.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') break;
  console.log(JSON.stringify(await round()));
}
process.exit();
