import { DEFAULT_TASK, type TaskConfig } from '@weft/config';
import { temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteTokenizer } from '../formats/tokenizer.js';
import { Dataset } from '../index/dataset.js';
import { indexDataset } from '../index/index-dataset.js';
import { type TinyContent, tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { readPairs } from './pair-batch.js';

const text = { vocabularySize: 260, width: 8, depth: 1, heads: 1, feedForwardWidth: 8 } as const;
const contrastive: TaskConfig = {
  kind: 'contrastive',
  embeddingWidth: 4,
  pooling: 'attentionPool',
  initialScale: 10,
  text: { ...text, activation: 'gelu', normEpsilon: 1e-5 },
};

describe('an index of pairs', () => {
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>;
  let content: TinyContent;
  let dataset: Dataset;
  const LENGTH = 12;

  const configOf = (task: TaskConfig, sequenceLength = LENGTH) => {
    const { data, model } = tinyConfig(folder.path);
    return {
      data: { ...data, weights: { captioned: 1, interleaved: 0, text: 0 } },
      model: { ...model, sequenceLength },
      task,
    };
  };

  beforeAll(async () => {
    folder = await temporaryDirectory();
    content = await writeTinyDataset(folder.path);
    await indexDataset(configOf(contrastive));
    dataset = await Dataset.open(configOf(contrastive));
  });
  afterAll(async () => {
    await dataset.close();
    await folder.remove();
  });

  it('has a sequence for every captioned sample, in their order, and none of other sources', async () => {
    expect(dataset.sequences).toEqual({ captioned: content.captioned.length, interleaved: 0, text: 0 });
    expect(dataset.directory).toMatch(/bytes-pairs12$/);
    for (const [index, { caption }] of content.captioned.entries()) {
      const { segments } = await dataset.readSequence('captioned', index);
      expect(segments).toHaveLength(1);
      expect(segments[0]!.images).toHaveLength(1);
      const whole = [...byteTokenizer.encode(caption)];
      // As much of the caption as fits, and its end.
      expect([...segments[0]!.entries.subarray(1)]).toEqual([...whole.slice(0, LENGTH - 1), byteTokenizer.endOfTextId]);
    }
  });

  it('fills a microbatch: pixels, captions, their ends, and nothing where there is no pair', async () => {
    const { arrays } = await readPairs(dataset, [{ source: 'captioned', index: 3 }], 2);
    const { caption, colour } = content.captioned[3]!;
    const length = Math.min(Buffer.byteLength(caption), LENGTH - 1);
    expect([...arrays.isEnd_NT]).toEqual(Array.from({ length: 2 * LENGTH }, (_, i) => (i === length ? 1 : 0)));
    expect(arrays.tokenIds_NT[length]).toBe(byteTokenizer.endOfTextId);
    expect([...arrays.tokenIds_NT.subarray(LENGTH)]).toEqual(Array(LENGTH).fill(byteTokenizer.padTokenId));
    const pixels = 6 * 6 * 3;
    for (const [channel, value] of colour.entries())
      expect(arrays.images_NHWC[channel]).toBeCloseTo((value / 255 - 0.5) / 0.5, 5);
    expect(arrays.images_NHWC.subarray(pixels).every((value) => value === 0)).toBe(true);
  });

  it('lies beside the index of packed sequences, and checks the vocabulary of the text tower', async () => {
    await indexDataset(configOf(DEFAULT_TASK, 48));
    const small = { ...contrastive, text: { ...contrastive.text, vocabularySize: 100 } } as TaskConfig;
    await expect(Dataset.open(configOf(small))).rejects.toThrow(
      'task.text.vocabularySize is 100, but the tokenizer bytes has 260 tokens',
    );
    const patches: TaskConfig = { kind: 'reconstructive', headWidth: 8, headDepth: 1 };
    const again = await Dataset.open(configOf(patches));
    expect(again.identity).toBe(dataset.identity);
    await again.close();
  });
});
