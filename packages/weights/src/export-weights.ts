import { basename, dirname, join } from 'node:path';
import { type Manifest, readTensors, type StreamedTensor, verifyCheckpoint, writeWeightsFile } from '@weft/checkpoint';
import { isJsonObject, type JsonObject, WeftError } from '@weft/common';
import type { ConnectorConfig, ImagePreprocessing, ModelConfig, Precision, RunConfig } from '@weft/config';
import { buildDirectory, diskStore, writeJsonFile } from '@weft/files';
import { connectorParameters, decoderParameters, visionEncoderParameters } from '@weft/model';
import { decoderEntries, writeDecoderConfig } from './decoder-layout.js';
import { type Entry, type LayoutPart, type LayoutTensor, layoutOf, toPublished } from './layout.js';
import { writeProcessorConfig } from './preprocessing.js';
import { clipEntries, neutralVisionTensors, writeVisionConfig } from './vision-layout.js';
import { copyTokenizer, INDEX_FILE } from './weights-folder.js';

/** `all` is the whole model in a folder like LLaVA's; a part alone is a folder of its own family. */
export type ExportedPart = 'all' | 'vision' | 'decoder';

/** What is exported, and where it goes. */
export interface ExportOptions {
  /** The folder of a checkpoint. */
  readonly checkpoint: string;
  /** The folder to write. Replaced as a whole. */
  readonly to: string;
  readonly part: ExportedPart;
  /** Of the written values; default: fp32, which loses nothing. */
  readonly precision?: Precision | undefined;
  /** Bytes of a file, unless one tensor is larger; default: 5 GB, as other tools cut. */
  readonly fileBytes?: number | undefined;
}

/** What was exported. */
export interface ExportedWeights {
  readonly files: readonly string[];
  readonly parameters: number;
  /** Of the configuration: what a reader looks for in it, such as `LlamaForCausalLM`. */
  readonly architecture: string;
  readonly notes: readonly string[];
}

/** Tensors of a folder, and what stands beside them. */
interface Plan {
  readonly config: JsonObject;
  readonly processor: JsonObject | undefined;
  readonly tensors: readonly PlannedTensor[];
}

/** A published tensor, made of parameters below a part of the model, or of one value. */
type PlannedTensor =
  | { readonly kind: 'made'; readonly path: string; readonly tensor: LayoutTensor }
  | { readonly kind: 'filled'; readonly name: string; readonly length: number; readonly value: number };

const FILE_BYTES = 5e9;

/**
 * Exports the weights of a checkpoint to the layouts of `transformers`. It takes the memory of the largest parameter, and
 * nothing is left behind when it fails.
 *
 * @throws WeftError what `verifyCheckpoint` throws; `invalid_argument` for a model that no layout has a place for
 */
export async function exportWeights(options: ExportOptions): Promise<ExportedWeights> {
  const manifest = await verifyCheckpoint(options.checkpoint);
  const config = modelOf(manifest, options);
  const plan = planOf(config, options.part);
  return buildDirectory(options.to, async (directory) => {
    const files = await writeTensors(manifest, plan.tensors, directory, options);
    await writeJsonFile(join(directory, 'config.json'), { ...plan.config, dtype: torchDtype(options.precision) });
    if (plan.processor !== undefined) await writeJsonFile(join(directory, 'preprocessor_config.json'), plan.processor);
    const notes = options.part === 'vision' ? [] : await writeTokenizer(config.tokenizer, directory);
    const architectures = plan.config.architectures;
    return {
      files,
      parameters: plan.tensors.reduce((sum, each) => sum + elements(shapeOf(each)), 0),
      architecture: Array.isArray(architectures) ? String(architectures[0]) : '',
      notes,
    };
  });
}

/** What an export reads of the configuration in a manifest: of a run, or of imported weights, which may lack parts. */
interface ExportedConfig {
  readonly model: Partial<ModelConfig>;
  readonly images: ImagePreprocessing | undefined;
  readonly tokenizer: string | undefined;
}

function modelOf({ config }: Manifest, { checkpoint, part }: ExportOptions): ExportedConfig {
  const { model, data } = (isJsonObject(config) ? config : {}) as Partial<Pick<RunConfig, 'model' | 'data'>>;
  const given: Partial<ModelConfig> = model ?? {};
  const wanted = part === 'all' ? (['vision', 'connector', 'decoder'] as const) : [part];
  const missing = wanted.filter((each) => given[each] === undefined);
  if (missing.length > 0)
    throw new WeftError('invalid_argument', `${checkpoint} holds no ${missing.join(' and no ')}`, {
      hint: `export another part of it, with --part`,
    });
  return { model: given, images: data?.images, tokenizer: data?.tokenizer };
}

function planOf({ model, images }: ExportedConfig, part: ExportedPart): Plan {
  const { vision, connector, decoder, sequenceLength = 2048 } = model;
  const visionPlan = (prefix: string): Plan => {
    if (vision === undefined) throw new WeftError('internal', 'the vision encoder is missing');
    const { config, layout } = writeVisionConfig(vision);
    const entries = clipEntries(vision.featureLayer ?? vision.depth, prefix);
    const processor = layout === 'CLIP' ? 'CLIPImageProcessor' : 'SiglipImageProcessor';
    return {
      config,
      processor: images === undefined ? undefined : writeProcessorConfig(images, vision.imageSize, processor),
      tensors: [
        ...made('vision', layoutOf(layout, visionEncoderParameters(vision), entries)),
        ...neutralVisionTensors(vision, prefix).map((each) => ({ kind: 'filled', ...each }) as const),
      ],
    };
  };
  const decoderPlan = (prefix: string): Plan => {
    if (decoder === undefined) throw new WeftError('internal', 'the decoder is missing');
    const config = writeDecoderConfig(decoder, sequenceLength);
    const entries = decoderEntries(decoder.depth, prefix);
    return {
      config,
      processor: undefined,
      tensors: made('decoder', layoutOf(String(config.model_type), decoderParameters(decoder), entries)),
    };
  };
  if (part === 'vision') return visionPlan(PUBLISHED_VISION);
  if (part === 'decoder') return decoderPlan('');
  const encoder = visionPlan('vision_tower.vision_model.');
  const text = decoderPlan('language_model.');
  const whole = { ...model, vision, connector, decoder } as ModelConfig;
  return {
    config: {
      architectures: ['WeftForConditionalGeneration'],
      model_type: 'weft_llava',
      vision_config: encoder.config,
      text_config: text.config,
      connector: connectorConfig(whole.connector),
      image_seq_length: whole.connector.tokensPerImage,
      vision_feature_layer: -1,
      vision_feature_select_strategy: whole.vision.classToken ? 'default' : 'full',
      vision_feature_norm: whole.vision.outputNorm,
      tie_word_embeddings: whole.decoder.tiedEmbeddings,
    },
    processor: encoder.processor,
    tensors: [...encoder.tensors, ...connectorTensors(whole), ...text.tensors],
  };
}

/** Older and newer versions of `transformers` find an encoder's tensors below this name. */
const PUBLISHED_VISION = 'vision_model.';

/** Weft's connectors are no published ones: their parameters keep their names and shapes. */
function connectorTensors(model: ModelConfig): readonly PlannedTensor[] {
  const specs = connectorParameters(model);
  const entries = specs.map(({ name }): Entry => {
    return { theirs: `multi_modal_projector.${name.replaceAll('/', '.')}`, ours: name, form: 'same' };
  });
  return made('connector', layoutOf('the connector', specs, entries));
}

function connectorConfig({ kind, tokensPerImage, hiddenWidth, depth }: ConnectorConfig): JsonObject {
  return { kind, tokens_per_image: tokensPerImage, hidden_size: hiddenWidth, depth };
}

function made(path: string, layout: readonly LayoutTensor[]): readonly PlannedTensor[] {
  return layout.map((tensor) => ({ kind: 'made', path, tensor }));
}

/** Writes the tensors into one file, or into several with an index. */
async function writeTensors(
  manifest: Manifest,
  planned: readonly PlannedTensor[],
  directory: string,
  { checkpoint, precision = 'fp32', fileBytes = FILE_BYTES }: ExportOptions,
): Promise<readonly string[]> {
  const dtype = precision === 'fp32' ? 'F32' : 'BF16';
  const streams = planned.map((each): StreamedTensor => {
    const values = () => valuesOf(each, checkpoint, manifest);
    return { name: nameOf(each), shape: shapeOf(each), dtype, values };
  });
  const groups = grouped(streams, fileBytes / (precision === 'fp32' ? 4 : 2));
  const total = String(groups.length).padStart(5, '0');
  const names = groups.map((_, index) =>
    groups.length === 1 ? 'model.safetensors' : `model-${String(index + 1).padStart(5, '0')}-of-${total}.safetensors`,
  );
  const written: [string, string][] = [];
  let bytes = 0;
  for (const [index, group] of groups.entries()) {
    const name = names[index] ?? '';
    bytes += (await writeWeightsFile(join(directory, name), group)).bytes;
    written.push(...group.map((tensor): [string, string] => [tensor.name, name]));
  }
  if (groups.length > 1)
    await writeJsonFile(join(directory, INDEX_FILE), {
      metadata: { total_size: bytes },
      weight_map: Object.fromEntries(written),
    });
  return names;
}

/** Tensors in their order, cut where a file would grow beyond so many elements. */
function grouped(tensors: readonly StreamedTensor[], most: number): readonly (readonly StreamedTensor[])[] {
  const groups: StreamedTensor[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const length = elements(tensor.shape);
    if (filled > 0 && filled + length > most) {
      groups.push([]);
      filled = 0;
    }
    groups.at(-1)?.push(tensor);
    filled += length;
  }
  return groups;
}

/** Elements that are put in order at a time. */
const PIECE_ELEMENTS = 2 ** 20;

async function* valuesOf(planned: PlannedTensor, checkpoint: string, manifest: Manifest): AsyncGenerator<Float32Array> {
  if (planned.kind === 'filled') {
    yield new Float32Array(planned.length).fill(planned.value);
    return;
  }
  for (const part of planned.tensor.parts) {
    const name = `${planned.path}/${part.ours}`;
    const ours = await parameter(checkpoint, manifest, name, part);
    for (let at = 0; at < ours.length; at += PIECE_ELEMENTS)
      yield toPublished(part, ours, at, Math.min(PIECE_ELEMENTS, ours.length - at));
  }
}

async function parameter(directory: string, manifest: Manifest, name: string, { shape }: LayoutPart) {
  for await (const tensor of readTensors(directory, manifest, (each) => each === name)) {
    if (tensor.shape.join() === shape.join()) return tensor.data;
    throw new WeftError('corrupt_data', `${directory}: ${name} is not of the shape of its configuration`);
  }
  throw new WeftError('corrupt_data', `${directory} lacks ${name}, which its configuration has`);
}

async function writeTokenizer(tokenizer: string | undefined, directory: string): Promise<readonly string[]> {
  if (tokenizer === undefined) return [];
  if (tokenizer === 'bytes') return ['The tokenizer is the built-in one of bytes, which other tools do not have.'];
  const folder = dirname(tokenizer);
  if (
    basename(tokenizer) === 'tokenizer.json' &&
    (await copyTokenizer(folder, await diskStore.list(folder), directory))
  )
    return [];
  return [`The tokenizer ${tokenizer} is not there: put a tokenizer.json beside the weights.`];
}

function nameOf(planned: PlannedTensor): string {
  return planned.kind === 'made' ? planned.tensor.name : planned.name;
}

function shapeOf(planned: PlannedTensor): readonly number[] {
  return planned.kind === 'made' ? planned.tensor.shape : [planned.length];
}

function torchDtype(precision: Precision = 'fp32'): string {
  return precision === 'fp32' ? 'float32' : 'bfloat16';
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
