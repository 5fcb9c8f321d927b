import { Random } from '@weft/common';
import { type RunConfig, type RunConfigInput, resolveRunConfig } from '@weft/config';
import type { Microbatch } from '@weft/tasks';

const vision = { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 2, feedForwardWidth: 16, classToken: true };
const text = { vocabularySize: 260, width: 8, depth: 1, heads: 2, feedForwardWidth: 16 };

/** The smallest contrastive run, on the JavaScript engine. */
export function pairsConfig(changes: RunConfigInput = {}): RunConfig {
  return resolveRunConfig({
    recipe: 'pairs',
    steps: 4,
    workers: 1,
    globalBatchSize: 16,
    task: { kind: 'contrastive', embeddingWidth: 4, initialScale: 10, text } as never,
    model: { sequenceLength: 5, vision },
    data: { directory: 'none', weights: { captioned: 1, interleaved: 0, text: 0 } },
    optimizer: { learningRate: 1e-2, warmupSteps: 0 },
    engine: { backend: 'javascript' },
    ...changes,
  });
}

/** Pairs of noise by their numbers in the run, in the first rows of a microbatch. */
function pairsBatch({ microbatchSize, model }: RunConfig, numbers: readonly number[]): Microbatch {
  const { sequenceLength: T } = model;
  const pixels = model.vision.imageSize ** 2 * 3;
  const images_NHWC = new Float32Array(microbatchSize * pixels);
  const tokenIds_NT = new Int32Array(microbatchSize * T).fill(257);
  const isEnd_NT = new Float32Array(microbatchSize * T);
  for (const [row, number] of numbers.entries()) {
    const random = Random.of('pair', number);
    for (let i = 0; i < pixels; i++) images_NHWC[row * pixels + i] = random.normal();
    const length = 1 + random.below(T - 1);
    for (let i = 0; i < length; i++) tokenIds_NT[row * T + i] = random.below(256);
    tokenIds_NT[row * T + length] = 256;
    isEnd_NT[row * T + length] = 1;
  }
  return { images_NHWC, tokenIds_NT, isEnd_NT };
}

/** The pairs from `first` up to `end`, in microbatches. */
export function pairsMicrobatches(config: RunConfig, { first, end }: { first: number; end: number }): Microbatch[] {
  const { microbatchSize: N } = config;
  const starts = Array.from({ length: Math.ceil((end - first) / N) }, (_, i) => first + i * N);
  return starts.map((start) =>
    pairsBatch(
      config,
      Array.from({ length: Math.min(N, end - start) }, (_, i) => start + i),
    ),
  );
}
