import { assertNever, median } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type Generator, openGenerator } from '@weft/generation';
import { initialValue, modelParameters } from '@weft/model';
import { recipe } from '@weft/recipes';
import { openExecutor } from '@weft/training';
import type { GenerationBenchOptions } from './arguments.js';
import { benchModel } from './models.js';
import { formatTable } from './render.js';

/** The speed of one batch size. */
export interface GenerationResult {
  readonly model: string;
  readonly engine: string;
  /** Texts that are continued at the same time. */
  readonly batch: number;
  /** New tokens of all texts over the seconds from the prompts to the last token, the median of the rounds. */
  readonly tokensPerSecond: number;
}

/** A batch size, and what its rounds gave. */
interface Measured {
  readonly batch: number;
  readonly generator: Generator;
  readonly rates: number[];
}

type GenerationModel = GenerationBenchOptions['models'][number];

function recipeOf(name: GenerationModel): RunConfig {
  const mm1Tiny = recipe('mm1Tiny');
  switch (name) {
    case 'decoder-34m':
      return { ...mm1Tiny, model: { ...mm1Tiny.model, decoder: benchModel(name).decoder } };
    case 'mm1-tiny':
      return mm1Tiny;
    case 'moe-tiny':
      return recipe('moeTiny');
    default:
      return assertNever(name);
  }
}

/**
 * `npm run bench -- generation`: the new tokens per second of models with their first weights, for batches of
 * several sizes. Prompts are read first, which counts. The sizes take turns, so that a slow minute meets all of them.
 */
export async function benchGeneration(options: GenerationBenchOptions): Promise<void> {
  const results: GenerationResult[] = [];
  for (const name of options.models) results.push(...(await measure(name, options)));
  console.log(options.json ? JSON.stringify({ options, results }, null, 2) : renderGeneration(results));
}

async function measure(name: GenerationModel, options: GenerationBenchOptions): Promise<readonly GenerationResult[]> {
  const { batches, threads, rounds, newTokens, promptTokens, backend } = options;
  const base = recipeOf(name);
  const positions = promptTokens + newTokens;
  const config: RunConfig = {
    ...base,
    activationCheckpointing: 'none',
    model: { ...base.model, sequenceLength: Math.max(positions, base.model.sequenceLength) },
    engine: { ...base.engine, backend, threadsPerWorker: threads },
  };
  const generators: Measured[] = [];
  for (const batch of batches) {
    const generator = await openGenerator({
      config,
      parameters: firstWeights(config),
      openExecutor: (program) => openExecutor(program, { config }),
      slots: batch,
      maxPositions: positions,
    });
    generators.push({ batch, generator, rates: [] });
  }
  const prompt = [{ kind: 'text', text: 'x'.repeat(promptTokens) } as const];
  const speedOf = async ({ batch, generator }: Measured) => {
    const started = performance.now();
    let tokens = 0;
    const prompts = Array.from({ length: batch }, () => prompt);
    for await (const { tokenIds } of generator.generate(prompts, { maxNewTokens: newTokens, endOfText: 'ignore' }))
      tokens += tokenIds.length;
    return (1000 * tokens) / (performance.now() - started);
  };
  // The first round compiles.
  for (let round = -1; round < rounds; round++) {
    for (const each of generators) {
      const rate = await speedOf(each);
      if (round >= 0) each.rates.push(rate);
    }
    console.error(`${name}: round ${round + 1} of ${rounds}`);
  }
  const results = generators.map(({ batch, generator, rates }) => ({
    model: name,
    engine: generator.description,
    batch,
    tokensPerSecond: median(rates),
  }));
  for (const { generator } of generators) await generator.close();
  return results;
}

async function* firstWeights({ model, seed }: RunConfig) {
  for (const spec of modelParameters(model)) yield [spec.name, initialValue(spec, seed)] as const;
}

/** A table; each size beside the first one. */
function renderGeneration(results: readonly GenerationResult[]): string {
  const one = (model: string) => results.find((each) => each.model === model)?.tokensPerSecond ?? Number.NaN;
  const titles = ['model', 'batch', 'tokens/s', '×'];
  const rows = results.map(({ model, batch, tokensPerSecond }) => [
    model,
    `${batch}`,
    tokensPerSecond.toFixed(1),
    (tokensPerSecond / one(model)).toFixed(2),
  ]);
  const engines = [...new Set(results.map(({ engine }) => engine))].join('; ');
  return `generation, ${engines}\n${formatTable(
    titles.map((title, i) => ({ title, align: i === 0 ? 'left' : 'right' })),
    rows,
  )}`;
}
