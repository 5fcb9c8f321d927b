import { WeftError } from '@weft/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_CHAT_TEMPLATE, DEFAULT_IMAGES, DEFAULT_REMOTE } from './data-config.js';
import { resolveLayers, resolveRunConfig } from './resolve.js';
import { DEFAULT_ADAFACTOR } from './run-config.js';
import { smallestRun } from './testing/smallest-run.js';
import { DEFAULT_VISION } from './vision-config.js';

/** `smallestRun` with one field replaced, or removed when the value is undefined. */
function withField(field: string, value: unknown): unknown {
  return replaced(smallestRun, field.split('.'), value);
}

function replaced(group: unknown, [name = '', ...inner]: readonly string[], value: unknown): unknown {
  const others = Object.entries(group ?? {}).filter(([other]) => other !== name);
  const current: unknown = Object.entries(group ?? {}).find(([other]) => other === name)?.[1];
  const next = inner.length === 0 ? value : replaced(current, inner, value);
  return Object.fromEntries(next === undefined ? others : [...others, [name, next]]);
}

function refusal(input: unknown, where?: string): string {
  try {
    resolveRunConfig(input, where);
  } catch (error) {
    expect(error).toBeInstanceOf(WeftError);
    expect(error).toMatchObject({ code: 'invalid_argument' });
    return WeftError.from(error).message;
  }
  return 'accepted';
}

describe('resolving', () => {
  it('pools grids that the tokens do not divide, and takes any number of queries', () => {
    const withConnector = (connector: object) =>
      resolveRunConfig(withField('model.connector', connector)).model.connector;
    expect(withConnector({ tokensPerImage: 9 })).toMatchObject({ kind: 'averagePool', tokensPerImage: 9 });
    expect(withConnector({ kind: 'attentionPool', tokensPerImage: 5 })).toMatchObject({ tokensPerImage: 5 });
  });

  it('takes the width of a head as it is given, also where the heads do not divide the width', () => {
    const decoder = { ...smallestRun.model.decoder, heads: 3, headWidth: 64 };
    expect(resolveRunConfig(withField('model.decoder', decoder)).model.decoder.headWidth).toBe(64);
  });

  it('fills in every default, those that follow from other fields too', () => {
    expect(resolveRunConfig({ ...smallestRun, workers: 3 })).toEqual({
      recipe: 'custom',
      seed: 0,
      steps: 60,
      stragglers: { factor: 1.5, steps: 20, policy: 'warn' },
      task: { kind: 'languageModel' },
      workers: 3,
      globalBatchSize: 8,
      microbatchSize: 3,
      precision: 'fp32',
      model: {
        sequenceLength: 128,
        vision: { ...smallestRun.model.vision, ...DEFAULT_VISION },
        connector: { kind: 'averagePool', tokensPerImage: 4, hiddenWidth: 1024, depth: 3 },
        decoder: {
          ...smallestRun.model.decoder,
          vocabularySize: 260,
          keyValueHeads: 4,
          headWidth: 32,
          ropeTheta: 10_000,
          ropeScaling: null,
          qkvBias: false,
          tiedEmbeddings: false,
          qkNorm: false,
          normEpsilon: 1e-5,
          moe: null,
        },
      },
      data: {
        directory: 'data',
        tokenizer: 'bytes',
        sources: { captioned: 'captioned', interleaved: 'interleaved', text: 'text' },
        weights: { captioned: 4, interleaved: 4, text: 1 },
        imagesPerSequence: 16,
        images: DEFAULT_IMAGES,
        chatTemplate: DEFAULT_CHAT_TEMPLATE,
        prefetchSteps: 2,
        datasets: {},
        index: null,
        remote: DEFAULT_REMOTE,
        shuffle: null,
        skippedBatches: [],
        indexVersion: null,
        mixtureChanges: [],
      },
      optimizer: {
        kind: 'adamw',
        adafactor: DEFAULT_ADAFACTOR,
        learningRate: 3e-4,
        learningRateFactors: {},
        weightDecay: 3e-5,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        clipNorm: 1,
        warmupSteps: 3,
        finalLearningRateRatio: 0.1,
      },
      checkpoint: { everySteps: 1000, everyMinutes: null, keepLast: 3, keepEvery: 0 },
      divergence: { policy: 'warn', threshold: 10, patienceSteps: 20, rollbackSteps: 100 },
      engine: { backend: 'auto', threadsPerWorker: 0, mesh: { fsdp: 1, tensor: 1, expert: 1 }, collectives: 'auto' },
      queue: { priority: 0, maxAttempts: 1, backoffSeconds: 30, notBefore: null, after: [] },
      evaluation: {
        ...{ everySteps: 0, sequencesPerSource: 0 },
        ...{ tasks: {}, shots: [0, 4, 8], tasksEverySteps: 0, examplesPerTask: null, shotSeed: 0 },
      },
      minWorkers: null,
      expertWorkers: 0,
      expertCopies: 'auto',
      initFrom: null,
      microbatchesInFlight: 2,
      activationCheckpointing: 'none',
      learningRateSource: null,
    });
  });

  it('a resolved configuration resolves to itself, also through JSON', () => {
    const resolved = resolveRunConfig(smallestRun);
    expect(resolveRunConfig(resolved)).toEqual(resolved);
    expect(resolveRunConfig(JSON.parse(JSON.stringify(resolved)))).toEqual(resolved);
  });

  it('warms up for at most 2,000 steps and not at all in the shortest runs', () => {
    expect(resolveRunConfig({ ...smallestRun, steps: 200_000 }).optimizer.warmupSteps).toBe(2000);
    expect(resolveRunConfig({ ...smallestRun, steps: 1 }).optimizer.warmupSteps).toBe(0);
  });

  it('reads 4:4:1 as the three weights', () => {
    expect(resolveRunConfig(withField('data.weights', '45:45:10')).data.weights).toEqual({
      captioned: 45,
      interleaved: 45,
      text: 10,
    });
    expect(refusal(withField('data.weights', '4:4'))).toBe(
      'data.weights is "4:4", but must be a ratio of one number per source (captioned, interleaved, text), such as 1:1:1',
    );
  });

  it('accepts no value of another kind, and never throws anything but a refusal', () => {
    fc.assert(
      fc.property(fc.anything(), (input) => {
        expect(refusal(input)).not.toBe('accepted');
      }),
    );
  });
});

describe('refusing one field', () => {
  it.each([
    ['steps', 0, 'steps is 0, but must be a whole number of at least 1'],
    ['steps', 'many', 'steps is "many", but must be a whole number of at least 1'],
    ['steps', '60', 'steps is "60", but must be a whole number of at least 1'],
    ['steps', 1.5, 'steps is 1.5, but must be a whole number of at least 1'],
    ['steps', null, 'steps is null, but must be a whole number of at least 1'],
    ['steps', Number.NaN, 'steps is NaN, but must be a whole number of at least 1'],
    ['steps', undefined, 'steps is missing: it must be a whole number of at least 1'],
    ['steps', 1e15, 'steps is 1000000000000000, but must be a whole number from 1 to 4294967295'],
    ['steps', 1e30, 'steps is 1e+30, but must be a whole number from 1 to 4294967295'],
    ['model.decoder.depth', 1e6, 'model.decoder.depth is 1000000, but must be a whole number from 1 to 4096'],
    ['model.vision.depth', 1e6, 'model.vision.depth is 1000000, but must be a whole number from 1 to 4096'],
    ['model.connector.depth', 1e6, 'model.connector.depth is 1000000, but must be a whole number from 1 to 4096'],
    ['model.decoder.width', 2e9, 'model.decoder.width is 2000000000, but must be a whole number from 1 to 1048576'],
    ['optimizer.learningRate', 20, 'optimizer.learningRate is 20, which makes optimizer.weightDecay 2, but that must'],
    ['seed', -1, 'seed is -1, but must be a whole number of at least 0'],
    ['queue.priority', 2000, 'queue.priority is 2000, but must be an integer from -1000 to 1000'],
    [
      'queue.notBefore',
      'tomorrow',
      'queue.notBefore is "tomorrow", but must be a moment such as 2026-11-24T01:00:00Z, or null',
    ],
    ['precision', 'fp16', 'precision is "fp16", but must be one of fp32, bf16, auto'],
    ['data.imagesPerSequence', 1025, 'data.imagesPerSequence is 1025, but must be a whole number from 1 to 1024'],
    [
      'data.directory',
      '',
      'data.directory is "", but must be the folder that holds a folder of shards for each source, a text that is not empty',
    ],
    ['data.weights.text', -1, 'data.weights.captioned is missing: it must be a whole number from 0 to 1000000'],
    ['optimizer.learningRate', 0, 'optimizer.learningRate is 0, but must be a number above 0'],
    [
      'optimizer.learningRate',
      'fast',
      'optimizer.learningRate is "fast", but must be a number above 0, auto, or auto:<law or fit file>',
    ],
    ['optimizer.learningRate', 'auto', 'optimizer.learningRate is auto, but must be a number above 0 here'],
    ['optimizer.beta2', 1, 'optimizer.beta2 is 1, but must be a number from 0 to below 1'],
    ['optimizer.finalLearningRateRatio', 2, 'optimizer.finalLearningRateRatio is 2, but must be a number from 0 to 1'],
    ['model.decoder.qkNorm', 'yes', 'model.decoder.qkNorm is "yes", but must be true or false'],
    [
      'model.connector.kind',
      'mlp',
      'model.connector.kind is "mlp", but must be one of averagePool, attentionPool, cAbstractor',
    ],
    [
      'model.vision',
      undefined,
      'model.vision is missing: it needs imageSize, patchSize, width, depth, heads, feedForwardWidth',
    ],
    [
      'checkpoint',
      20,
      'checkpoint is 20, but must be a group of fields (everySteps, everyMinutes, keepLast, keepEvery)',
    ],
    [
      'checkpoint',
      [20],
      'checkpoint is [20], but must be a group of fields (everySteps, everyMinutes, keepLast, keepEvery)',
    ],
    ['learnigRate', 1, 'unknown field "learnigRate", did you mean optimizer.learningRate?'],
    [
      'optimizer.lr',
      1,
      'unknown field "optimizer.lr", optimizer has learningRate, weightDecay, beta1, beta2, epsilon, clipNorm, warmupSteps, finalLearningRateRatio',
    ],
    ['model.decoder.hedas', 4, 'unknown field "model.decoder.hedas", did you mean model.decoder.heads?'],
    ['optimiser', {}, 'unknown field "optimiser", did you mean optimizer?'],
    ['constructor', 1, 'unknown field "constructor", '],
  ])('%s: %j', (field, value, sentence) => {
    expect(refusal(withField(field, value))).toContain(sentence);
  });

  it('quotes long values only in part', () => {
    expect(refusal({ ...smallestRun, steps: 'x'.repeat(1000) }).length).toBeLessThan(140);
  });

  it('says it of things that are no configuration at all', () => {
    expect(refusal('60')).toMatch(
      /^the configuration is "60", but must be a group of fields \(recipe, seed, initFrom, steps/,
    );
    expect(refusal([])).toMatch(/^the configuration is \[\], but must be/);
  });

  it('nested far deeper than any field', () => {
    let nested: unknown = 1;
    for (let depth = 0; depth < 100_000; depth++) nested = depth % 2 === 0 ? { a: nested } : [nested];
    expect(refusal({ ...smallestRun, steps: nested }, 'run.json')).toBe(
      'run.json: the configuration is nested more than 32 levels deep, which no field is',
    );
  });

  it.each([
    [
      { data: { skippedBatches: 3 } },
      'data.skippedBatches is 3, but must be a list of ranges, such as {first: 41, end: 43}',
    ],
    [{ queue: { after: 'k3f9' } }, 'queue.after is "k3f9", but must be a list of runs: [run1, run2]'],
    [
      { evaluation: { shots: 'many', sequencesPerSource: 9 } },
      'evaluation.shots is "many", but must be whole numbers such as 0,4,8',
    ],
  ])('says of a wrong list how one is written: %j', (change, sentence) => {
    const data = { ...smallestRun.data, ...('data' in change ? change.data : {}) };
    expect(refusal({ ...smallestRun, ...change, data })).toContain(sentence);
  });

  it('names where it was written, and lists several problems line by line', () => {
    expect(refusal({ ...smallestRun, steps: 0 }, 'run.yaml')).toBe(
      'run.yaml: steps is 0, but must be a whole number of at least 1',
    );
    expect(refusal({ ...smallestRun, steps: 0, sede: 1 }, 'run.yaml')).toBe(
      [
        'the configuration has 2 problems:',
        '  - run.yaml: steps is 0, but must be a whole number of at least 1',
        '  - run.yaml: unknown field "sede", did you mean seed?',
      ].join('\n'),
    );
  });
});

describe('refusing what does not fit together', () => {
  it.each([
    ['workers', 9, 'workers is 9, but must be at most globalBatchSize (8): every worker needs a sequence of each step'],
    ['minWorkers', 3, 'minWorkers is 3, but must be at most workers (1)'],
    ['microbatchSize', 9, 'microbatchSize is 9, but must be at most globalBatchSize (8)'],
    ['optimizer.warmupSteps', 60, 'optimizer.warmupSteps is 60, but must be below steps (60)'],
    ['data.weights', '0:0:0', 'data.weights are all 0, but at least one source must have a weight'],
    [
      'data.tokenizer',
      'tokenizer.json',
      'model.decoder.vocabularySize is missing: it must be the vocabulary of tokenizer.json, a whole number of at least 1',
    ],
    ['model.vision.heads', 5, 'model.vision.heads is 5, but must divide model.vision.width (64)'],
    ['model.vision.patchSize', 7, 'model.vision.patchSize is 7, but must divide model.vision.imageSize (32)'],
    ['model.decoder.heads', 3, 'model.decoder.heads is 3, but must divide model.decoder.width (128)'],
    [
      'model.decoder.heads',
      128,
      'model.decoder.heads is 128, which makes heads of width 1, but rotary positions need an even width',
    ],
    [
      'data.images.fit',
      'crop',
      'data.images.fit is crop, but data.images.interpolation is lanczos: crop goes with bicubic',
    ],
    [
      'data.images.mean',
      { red: 1.5, green: 0, blue: 0 },
      'data.images.mean.red is 1.5, but must be a number from 0 to 1',
    ],
    ['model.decoder.headWidth', 5, 'model.decoder.headWidth is 5, but rotary positions need an even width'],
    ['model.vision.featureLayer', 2, 'model.vision.featureLayer is 2, but must be at most model.vision.depth (1)'],
    [
      'model.decoder.ropeScaling',
      { factor: 8, lowFrequencyFactor: 4, highFrequencyFactor: 4, originalLength: 8192 },
      'model.decoder.ropeScaling.lowFrequencyFactor is 4, but must be below model.decoder.ropeScaling.highFrequencyFactor (4)',
    ],
    ['model.decoder.keyValueHeads', 3, 'model.decoder.keyValueHeads is 3, but must divide model.decoder.heads (4)'],
    [
      'model.decoder.vocabularySize',
      256,
      'model.decoder.vocabularySize is 256, but must be at least 260 for the byte tokenizer',
    ],
    [
      'model.connector.tokensPerImage',
      5,
      'model.connector.tokensPerImage is 5, but must be a perfect square such as 4 or 9',
    ],
    [
      'model.connector.tokensPerImage',
      25,
      'model.connector.tokensPerImage is 25 (5×5), but must be at most the 4×4 patches of model.vision',
    ],
    [
      'model.connector.tokensPerImage',
      144,
      'model.connector.tokensPerImage is 144, but must be below model.sequenceLength (128)',
    ],
  ])('%s: %j', (field, value, sentence) => {
    expect(refusal(withField(field, value))).toContain(sentence);
  });

  it('bf16 in pure JavaScript', () => {
    expect(refusal({ ...smallestRun, precision: 'bf16', engine: { backend: 'javascript' } })).toBe(
      'precision is bf16, but engine.backend javascript computes in fp32 only',
    );
  });

  it('not precision: auto, which is fp32 in pure JavaScript and is left to the coordinator', () => {
    const config = resolveRunConfig({ ...smallestRun, precision: 'auto', engine: { backend: 'javascript' } });
    expect(config.precision).toBe('auto');
    expect(resolveRunConfig(smallestRun).precision).toBe('fp32');
  });

  it('activation checkpointing in pure JavaScript', () => {
    const javascript = { engine: { backend: 'javascript' } };
    expect(refusal({ ...smallestRun, activationCheckpointing: 'full', ...javascript })).toBe(
      'activationCheckpointing is full, but engine.backend javascript keeps every activation: leave it at none',
    );
    expect(refusal({ ...smallestRun, activationCheckpointing: 'blocks' })).toBe(
      'activationCheckpointing is "blocks", but must be one of none, selective, full',
    );
  });

  it('the C-Abstractor pools any smaller square', () => {
    const connector = { kind: 'cAbstractor', tokensPerImage: 9 };
    expect(refusal({ ...smallestRun, model: { ...smallestRun.model, connector } })).toBe('accepted');
  });
});

describe('layers', () => {
  const recipe = { value: smallestRun, where: () => 'recipe small' };
  const file = { value: { steps: 100, optimizer: { learningRate: 1e-3 } }, where: () => 'run.yaml:3' };

  it('the last one wins, field by field', () => {
    const config = resolveLayers([recipe, file, { value: { steps: 7 } }]);
    expect(config).toMatchObject({ steps: 7, optimizer: { learningRate: 1e-3, weightDecay: 1e-4 } });
    expect(config.model.decoder.width).toBe(128);
  });

  it.each([
    ['wrote the field', { steps: -1 }, 'top: steps is -1'],
    ['broke the rule', { model: { decoder: { width: 130 } } }, 'top: model.decoder.heads is 4, but must divide'],
    ['wrote an unknown field', { model: { decoder: { widht: 1 } } }, 'top: unknown field "model.decoder.widht"'],
  ])('a problem names the layer that %s', (_, value, sentence) => {
    expect(() => resolveLayers([recipe, file, { value, where: () => 'top' }])).toThrow(sentence);
  });

  it('a problem below names the layer below', () => {
    const broken = { value: { ...smallestRun, steps: -1 }, where: () => 'recipe small' };
    expect(() => resolveLayers([broken, { value: { seed: 1 }, where: () => 'top' }])).toThrow(
      'recipe small: steps is -1',
    );
  });

  it('a weight can be changed after a ratio was given', () => {
    const ratio = { value: { data: { weights: '5:5:1' } } };
    const config = resolveLayers([recipe, ratio, { value: { data: { weights: { text: 2 } } } }]);
    expect(config.data.weights).toEqual({ captioned: 5, interleaved: 5, text: 2 });
  });

  it('a field named __proto__ is refused, not obeyed', () => {
    const value: unknown = JSON.parse('{"__proto__": {"steps": 5}, "model": {"__proto__": {"x": 1}}}');
    expect(() => resolveLayers([recipe, { value }])).toThrow('unknown field "__proto__"');
  });
});
