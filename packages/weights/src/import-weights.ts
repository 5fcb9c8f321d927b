import { join } from 'node:path';
import { checkpointDirectory, type StreamedTensor, shardName, writeManifest, writeWeightsFile } from '@weft/checkpoint';
import { isJsonObject, type JsonObject, WeftError } from '@weft/common';
import type { DecoderConfig, VisionConfig } from '@weft/config';
import { openTokenizer } from '@weft/data';
import { buildDirectory, diskStore, makeDirectory } from '@weft/files';
import { decoderParameters, visionEncoderParameters } from '@weft/model';
import { decoderEntries, isDecoderConfig, isDecoderExtra, readDecoderConfig, slidingWindow } from './decoder-layout.js';
import { fromPublished, type LayoutPart, type LayoutTensor, layoutOf } from './layout.js';
import { type EncoderImages, readOpenClipPreprocessing, readProcessorConfig } from './preprocessing.js';
import {
  clipEntries,
  type FeatureChoice,
  isVisionExtra,
  openClipEntries,
  readClipConfig,
  readOpenClipConfig,
} from './vision-layout.js';
import { copyTokenizer, type FoundTensor, WeightsFolder } from './weights-folder.js';

/** What is imported, and where it goes. */
export interface ImportOptions {
  /** A folder as `transformers` or open_clip save models. */
  readonly from: string;
  /** The folder to write: a checkpoint, the tokenizer, and the settings of a run that fits. Replaced as a whole. */
  readonly to: string;
  /** The encoder's block whose output the connector is to read; default: the last. Later ones are left out. */
  readonly featureLayer?: number | undefined;
  /** Whether the connector reads it through the encoder's last norm; default: true. */
  readonly outputNorm?: boolean | undefined;
}

/** What was imported. */
export interface ImportedWeights {
  /** The checkpoint that `initFrom` names. */
  readonly checkpoint: string;
  /** Of which model. */
  readonly parts: readonly ('vision' | 'decoder')[];
  readonly parameters: number;
  /** The fields of a run that these weights fit. */
  readonly settings: JsonObject;
  /** The same as a file of a run has it. */
  readonly yaml: string;
  /** What a person should know of the original. */
  readonly notes: readonly string[];
}

/** One part of a model, found in a folder. */
interface FoundPart {
  readonly part: 'vision' | 'decoder';
  readonly layout: readonly LayoutTensor[];
  /** Whether a published tensor that the layout does not name is passed over. */
  readonly isExtra: (name: string) => boolean;
  /** What of `model` and `data` it decides. */
  readonly model: JsonObject;
  readonly data: JsonObject;
  readonly notes: readonly string[];
}

/**
 * Imports public weights as a Weft checkpoint. It takes the memory of the largest parameter, and nothing is left behind
 * when it fails.
 *
 * @throws WeftError `not_found` for missing files; `invalid_argument` for a model that is computed otherwise than Weft's,
 *         naming the field; `corrupt_data` for tensors that are missing, of other shapes or too many, naming every one
 */
export async function importWeights(options: ImportOptions): Promise<ImportedWeights> {
  const folder = await WeightsFolder.open(options.from);
  try {
    const parts = await findParts(folder, options);
    checkTensors(folder, parts);
    return await buildDirectory(options.to, (directory) => write(folder, parts, directory, options));
  } finally {
    await folder.close();
  }
}

async function findParts(folder: WeightsFolder, options: ImportOptions): Promise<readonly FoundPart[]> {
  const choice = { featureLayer: options.featureLayer ?? null, outputNorm: options.outputNorm ?? true };
  const config = await folder.json('config.json');
  const openClip = await folder.json('open_clip_config.json');
  const at = (name: string) => join(folder.path, name);
  const has = (suffix: string) => [...folder.tensors.keys()].find((name) => name.endsWith(suffix));
  const found: FoundPart[] = [];
  if (has('visual.conv1.weight') !== undefined && openClip !== undefined) {
    const where = at('open_clip_config.json');
    const vision = readOpenClipConfig(openClip, where, choice);
    const entries = openClipEntries(vision.featureLayer ?? vision.depth);
    const images = readOpenClipPreprocessing(openClip, where);
    found.push(visionPart(vision, choice, entries, 'visual.', images));
  }
  const patches = has('embeddings.patch_embedding.weight');
  if (patches !== undefined && config !== undefined) {
    const prefix = patches.slice(0, -'embeddings.patch_embedding.weight'.length);
    const vision = readClipConfig(config, at('config.json'), choice);
    const entries = clipEntries(vision.featureLayer ?? vision.depth, prefix);
    const name = 'preprocessor_config.json';
    const processor = await folder.json(name);
    const images = processor === undefined ? undefined : readProcessorConfig(processor, at(name), vision.imageSize);
    found.push(visionPart(vision, choice, entries, prefix, images));
  }
  const embedding = has('model.embed_tokens.weight');
  const text = isJsonObject(config?.text_config) ? config.text_config : config;
  if (embedding !== undefined && text !== undefined) {
    const prefix = embedding.slice(0, -'model.embed_tokens.weight'.length);
    found.push(await decoderPart(folder, readDecoderConfig(text, at('config.json')), prefix, text));
  }
  if (found.length > 0) return found;
  const kind = isJsonObject(config) && typeof config.model_type === 'string' ? `: it is of ${config.model_type}` : '';
  const family = config !== undefined && isDecoderConfig(config) ? '' : kind;
  throw new WeftError(
    'invalid_argument',
    `${folder.path} holds neither a vision encoder nor a decoder that Weft knows${family}`,
    {
      hint: 'Weft imports CLIP encoders of transformers and open_clip, and decoders of Llama, Mistral, Qwen2 and Qwen3',
    },
  );
}

function visionPart(
  vision: VisionConfig,
  choice: FeatureChoice,
  entries: Parameters<typeof layoutOf>[2],
  prefix: string,
  images: EncoderImages | undefined,
): FoundPart {
  return {
    part: 'vision',
    layout: layoutOf('CLIP', visionEncoderParameters(vision), entries),
    isExtra: (name) => isVisionExtra(name, prefix, choice),
    model: { vision },
    data: images === undefined ? {} : { images },
    notes:
      images === undefined
        ? ['The folder does not say how images are prepared: set data.images as the encoder was trained.']
        : [],
  };
}

async function decoderPart(
  folder: WeightsFolder,
  decoder: DecoderConfig,
  prefix: string,
  config: JsonObject,
): Promise<FoundPart> {
  const window = slidingWindow(config);
  const data = await tokenizerSettings(folder, decoder.vocabularySize);
  return {
    part: 'decoder',
    layout: layoutOf('Llama', decoderParameters(decoder), decoderEntries(decoder.depth, prefix)),
    isExtra: (name) => !isOfDecoder(name, prefix) || isDecoderExtra(name, decoder),
    model: { decoder },
    data,
    notes: [
      ...(window === undefined ? [] : [`The original reads ${window} positions back; Weft reads all of a segment.`]),
      ...(data.tokenizer === undefined ? ['The folder holds no tokenizer.json: set data.tokenizer by hand.'] : []),
    ],
  };
}

/** In a folder of several parts the others have names of their own. */
function isOfDecoder(name: string, prefix: string): boolean {
  return name.startsWith(`${prefix}model.`) || name.startsWith(`${prefix}lm_head.`) || prefix === '';
}

async function tokenizerSettings(folder: WeightsFolder, vocabularySize: number): Promise<JsonObject> {
  if (!folder.names.includes('tokenizer.json')) return {};
  const path = join(folder.path, 'tokenizer.json');
  const tokenizer = await openTokenizer(path);
  if (tokenizer.vocabularySize > vocabularySize)
    throw new WeftError(
      'invalid_argument',
      `${path} has ${tokenizer.vocabularySize} tokens, but the decoder has embeddings for ${vocabularySize}`,
      { hint: 'put the tokenizer of the same model beside its weights' },
    );
  return { tokenizer: 'tokenizer.json' };
}

/** @throws WeftError `corrupt_data` naming every tensor that is missing, has another shape, or belongs to no parameter. */
function checkTensors({ tensors, path }: WeightsFolder, parts: readonly FoundPart[]): void {
  const wanted = new Map(parts.flatMap(({ layout }) => layout.map((tensor) => [tensor.name, tensor] as const)));
  const missing = [...wanted.keys()].filter((name) => !tensors.has(name));
  const wrong = [...wanted].flatMap(([name, { shape }]) => {
    const found = tensors.get(name)?.entry.shape;
    return found === undefined || found.join() === shape.join()
      ? []
      : [`${name} is [${found.join(', ')}] instead of [${shape.join(', ')}]`];
  });
  const extra = [...tensors.keys()].filter((name) => !wanted.has(name) && parts.every(({ isExtra }) => !isExtra(name)));
  const problems = [
    ...(missing.length === 0 ? [] : [`it lacks ${missing.join(', ')}`]),
    ...wrong,
    ...(extra.length === 0 ? [] : [`it holds ${extra.join(', ')}, which the configuration leaves no place for`]),
  ];
  if (problems.length > 0)
    throw new WeftError('corrupt_data', `${path} does not fit its configuration: ${problems.join('; ')}`, {
      hint: 'download the model again, or correct its config.json',
    });
}

async function write(
  folder: WeightsFolder,
  parts: readonly FoundPart[],
  directory: string,
  { from, to }: ImportOptions,
): Promise<ImportedWeights> {
  const checkpoint = checkpointDirectory(directory, 0);
  await makeDirectory(checkpoint);
  const tensors = parts.flatMap(({ part, layout }) =>
    layout.flatMap((tensor) => tensor.parts.map((each) => streamed(folder, tensor, part, each))),
  );
  const file = await writeWeightsFile(join(checkpoint, shardName(0, 1)), tensors);
  const hasTokenizer = await copyTokenizer(folder.path, folder.names, directory);
  const model = Object.assign({}, ...parts.map((each) => each.model)) as JsonObject;
  const data = Object.assign({}, ...parts.map((each) => each.data)) as JsonObject;
  const withTokenizer = hasTokenizer && data.tokenizer !== undefined ? { tokenizer: join(to, 'tokenizer.json') } : {};
  const config = { importedFrom: from, model, data };
  await writeManifest(checkpoint, { runId: 'import', step: 0, nextSequence: 0, config, files: [file] });
  const names = parts.map(({ part }) => part);
  const initFrom = Object.fromEntries(names.map((name) => [name, checkpointDirectory(to, 0)]));
  const settings = { initFrom, model, data: { ...data, ...withTokenizer } };
  const yaml = settingsYaml(settings);
  await diskStore.write(join(directory, 'settings.yaml'), yaml);
  return {
    checkpoint: checkpointDirectory(to, 0),
    parts: names,
    parameters: tensors.reduce((sum, { shape }) => sum + elements(shape), 0),
    settings,
    yaml,
    notes: parts.flatMap(({ notes }) => notes),
  };
}

/** A parameter of ours, put together from pieces of the published tensor when its turn has come. */
function streamed(folder: WeightsFolder, { name }: LayoutTensor, path: string, part: LayoutPart): StreamedTensor {
  return {
    name: `${path}/${part.ours}`,
    shape: part.shape,
    values: async function* () {
      const { file, entry } = folder.tensors.get(name) as FoundTensor;
      const count = elements(part.shape);
      const ours = new Float32Array(count);
      let at = 0;
      for await (const piece of file.read(entry, part.offset, count)) {
        fromPublished(part, piece, at, ours);
        at += piece.length;
      }
      yield ours;
    },
  };
}

/** Fields of a run in the form of a run file, to be copied into one. */
function settingsYaml(settings: JsonObject): string {
  return `${yamlLines(settings, '').join('\n')}\n`;
}

function yamlLines(group: JsonObject, indent: string): string[] {
  return Object.entries(group).flatMap(([name, value]) => {
    if (!isJsonObject(value)) return [`${indent}${name}: ${JSON.stringify(value)}`];
    const inner = yamlLines(value, `${indent}  `);
    return inner.length === 0 ? [] : [`${indent}${name}:`, ...inner];
  });
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
