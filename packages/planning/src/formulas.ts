import { gatheredBytes, type Mesh, shardBytes } from '@weft/backend-pjrt';
import { axesOfArray, learningRateFactor, optimizerArrays, type RunConfig } from '@weft/config';
import { isExpertStack, moeLayerIndices, moeShape, type ParameterSpec } from '@weft/model';
import {
  encoderForward,
  encoderParts,
  headBytes,
  isEncoderRun,
  lossBytes,
  taskParameters,
} from './encoder-formulas.js';

// What a device of a mesh holds, computes and sends, as formulas: `docs/design/plan.md` has them beside what XLA compiles.

/** Bytes of one device, by what they are. */
export interface DeviceMemory {
  /** fp32. */
  readonly weights: number;
  /** fp32; a sum over microbatches is made in place. */
  readonly gradients: number;
  /** The two moments of AdamW, or AdaFactor's means of rows and columns. */
  readonly optimizer: number;
  /** What a microbatch takes at most beside them: kept activations, gathered weights, logits. */
  readonly activations: number;
  readonly total: number;
}

const FP32 = 4;

/** The bytes of an operand of a product; `auto` is bfloat16 on every GPU that can be named. */
export function operandBytes({ precision }: Pick<RunConfig, 'precision'>): number {
  return precision === 'fp32' ? FP32 : 2;
}

/** Sums over microbatches take the memory of the sums before. */
export function deviceMemory(config: RunConfig, mesh: Mesh): DeviceMemory {
  const specs = workerParameters(config);
  const held = (some: readonly ParameterSpec[]) => sum(some, (spec) => shardBytes(arrayOf(spec), mesh));
  const trainedSpecs = specs.filter((spec) => isTrained(config, spec));
  const trained = held(trainedSpecs);
  // Plans try many meshes, so what is counted already is not counted again for both moments of AdamW.
  const isAdamw = config.optimizer.kind === 'adamw';
  const optimizer = isAdamw ? 2 * trained : sum(trainedSpecs, (spec) => optimizerBytes(config, spec, mesh));
  const weights = held(specs);
  const activations = activationBytes(config, mesh);
  return {
    weights,
    gradients: trained,
    optimizer,
    activations,
    total: weights + trained + optimizer + activations,
  };
}

/** What a device keeps for the optimizer of one parameter. */
function optimizerBytes({ optimizer }: RunConfig, { shape, axes, ...spec }: ParameterSpec, mesh: Mesh): number {
  return sum(optimizerArrays(optimizer.kind, shape.length), (array) =>
    shardBytes(arrayOf({ ...spec, shape: axesOfArray(array, shape), axes: axesOfArray(array, axes) }), mesh),
  );
}

/**
 * The most that the phase `gradients` takes beside weights and gradients. All block inputs are there while the loss is
 * computed, and while the last block of the decoder is computed again.
 */
function activationBytes(config: RunConfig, mesh: Mesh): number {
  const { model, activationCheckpointing: mode } = config;
  const { vision, decoder } = model;
  const operand = operandBytes(config);
  const { positions, patches, imageTokens, slots } = deviceRows(config, mesh);
  const specs = workerParameters(config);
  // The bytes of an array while a product reads it, and its gradient before it is scattered.
  const used = (spec: ParameterSpec) => (gatheredBytes(arrayOf(spec), mesh) / FP32) * operand;
  const isCopied = (spec: ParameterSpec) => operand < FP32 || isCut(spec, mesh);
  const whole = (some: readonly ParameterSpec[]) => sum(some.filter(isCopied), used);
  const unscattered = (spec: ParameterSpec) => (isCut(spec, mesh) ? gatheredBytes(arrayOf(spec), mesh) : 0);

  if (isEncoderRun(config)) {
    const { fsdp, expert } = mesh;
    const kept = encoderParts(config).map(({ rows, depth, shape }) => {
      const block = blockBytes(shape, operand, mesh.tensor);
      const ofRow = depth * (block.attention[mode] + block.feedForward[mode]);
      const again = mode === 'none' ? 0 : block.again + block.gated;
      return ((config.microbatchSize * rows) / (fsdp * expert)) * (ofRow + again);
    });
    return (
      whole(mode === 'none' ? specs : []) +
      sum(kept, (each) => each) +
      lossBytes(config, mesh) +
      headBytes(config, mesh)
    );
  }
  const encoderLayers = vision.featureLayer ?? vision.depth;
  const sparseLayers = moeLayerIndices(decoder).length;
  const decoderBlock = blockBytes(decoder, operand, mesh.tensor);
  const encoderBlock = blockBytes({ ...vision, keyValueHeads: vision.heads, isGated: false }, operand, mesh.tensor);
  const expertRow = expertBytes(decoder, operand, mesh.tensor);
  const denseLayers = decoder.depth - sparseLayers;
  const decoderKept =
    positions * (decoder.depth * decoderBlock.attention[mode] + denseLayers * decoderBlock.feedForward[mode]) +
    slots * sparseLayers * expertRow[mode];
  const encoderKept = patches * encoderLayers * (encoderBlock.attention[mode] + encoderBlock.feedForward[mode]);
  const connectorKept = connectorBytes(config, patches, imageTokens);
  // XLA gathers stacks of experts at the start of the phase; without a second pass, what is gathered stays for the gradients.
  const early = mode === 'none' ? specs : specs.filter(({ name }) => mesh.fsdp > 1 && isExpertStack(name));

  const head = specs.find(({ name }) => name === (decoder.tiedEmbeddings ? 'decoder/embedding' : 'decoder/head'));
  const isEarly = new Set(early);
  const late = (some: readonly ParameterSpec[]) => whole(some.filter((spec) => !isEarly.has(spec)));
  const heads = head === undefined ? [] : [head];
  const logits = (2 * FP32 * positions * decoder.vocabularySize) / mesh.tensor;
  const loss = logits + late(heads) + sum(heads, unscattered);

  const last = specs.filter(({ name }) => name.startsWith(`decoder/layers/${decoder.depth - 1}/`));
  const isLastSparse = last.some(({ name }) => isExpertStack(name));
  const again =
    mode === 'none'
      ? 0
      : positions * decoderBlock.again + (isLastSparse ? slots * expertRow.again : positions * decoderBlock.gated);
  const lastBlock = late(last) + Math.max(0, ...last.map(unscattered)) + again;
  const firstBlock = mode === 'none' ? 0 : patches * (encoderBlock.again + encoderBlock.gated);
  const inDecoder = decoderKept + connectorKept + Math.max(loss, lastBlock);
  return whole(early) + encoderKept + Math.max(inDecoder, firstBlock);
}

interface BlockSizes {
  readonly width: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth?: number;
  readonly feedForwardWidth: number;
  /** SwiGLU, with two products on the way in. */
  readonly isGated?: boolean;
}

/** Bytes that a row of a block keeps for the backward pass, by what is recomputed, and those of computing it again. */
function blockBytes(shape: BlockSizes, operand: number, tensor: number) {
  const { width, heads, keyValueHeads, headWidth = width / heads, feedForwardWidth, isGated = true } = shape;
  const queries = (operand * heads * headWidth) / tensor;
  const keys = (operand * keyValueHeads * headWidth) / tensor;
  const features = (operand * feedForwardWidth) / tensor;
  const input = FP32 * width;
  const entering = isGated ? 2 * features : features;
  const attention = { full: input, selective: input + queries + 2 * keys + operand * width };
  const feedForward = { full: 0, selective: entering + operand * width };
  return {
    // Beside the products: the norm, normalised and rotated queries and keys, and what was read.
    attention: { ...attention, none: attention.selective + operand * width + 2 * queries + keys },
    // Beside the products: the stream between the halves, the norm, and the function of the features and its result.
    feedForward: { ...feedForward, none: feedForward.selective + input + operand * width + 2 * features },
    again: input + 2 * queries + 2 * keys,
    gated: entering,
  };
}

/** The same for a slot of an expert. */
function expertBytes(
  { width, feedForwardWidth }: Pick<BlockSizes, 'width' | 'feedForwardWidth'>,
  operand: number,
  tensor: number,
) {
  const features = (operand * feedForwardWidth) / tensor;
  const again = 2 * features + 2 * operand * width;
  return { full: 0, selective: again, none: again + 2 * features, again };
}

/** No block of the connector is computed again. Of one of the C-Abstractor, four float32 values a channel stay. */
function connectorBytes({ model: { connector, vision } }: RunConfig, patches: number, imageTokens: number): number {
  if (connector.kind !== 'cAbstractor') return 2 * FP32 * patches * vision.width;
  return 4 * FP32 * connector.hiddenWidth * connector.depth * (patches + imageTokens);
}

/** Rows of a microbatch on one device. `tensor` cuts none of them. */
function deviceRows({ model, microbatchSize, data }: RunConfig, mesh: Mesh) {
  const batchDevices = mesh.fsdp * mesh.expert;
  const sequences = microbatchSize / batchDevices;
  const images = sequences * data.imagesPerSequence;
  const { vision, connector, decoder, sequenceLength } = model;
  const moe = decoder.moe === null ? undefined : moeShape(model, microbatchSize);
  return {
    positions: sequences * sequenceLength,
    patches: images * patchCount(vision),
    imageTokens: images * connector.tokensPerImage,
    slots: moe === undefined ? 0 : (moe.experts * moe.slots) / batchDevices,
  };
}

function patchCount({ imageSize, patchSize, classToken }: RunConfig['model']['vision']): number {
  return (imageSize / patchSize) ** 2 + (classToken ? 1 : 0);
}

/** Floating-point operations of the matrix products of one sequence, forward and backward. */
export interface SequenceFlops {
  /** Of the decoder, with all its positions. */
  readonly decoder: number;
  /** Of encoder and connector, with all images that a sequence may have. */
  readonly images: number;
  /** What is computed a second time, beside them. */
  readonly again: number;
}

/** A backward pass costs two forward passes. Attention counts every pair of positions, as usual. */
export function sequenceFlops(config: RunConfig): SequenceFlops {
  const { model, data, activationCheckpointing: mode } = config;
  if (isEncoderRun(config)) {
    const { images, text, attention } = encoderForward(config);
    // Features before gradients are one more forward pass.
    const again = { none: 0, selective: attention, full: images + text }[mode];
    const shared = config.task.kind === 'contrastive' ? images + text : 0;
    return { decoder: 3 * text, images: 3 * images, again: again + shared };
  }
  const { vision, connector, decoder, sequenceLength } = model;
  const images = data.imagesPerSequence;
  const patches = patchCount(vision);
  const moe = decoder.moe === null ? undefined : moeShape(model, 1);
  const rowsOf = ({ name }: ParameterSpec): number => {
    if (name === 'decoder/embedding') return decoder.tiedEmbeddings ? sequenceLength : 0;
    if (isExpertStack(name)) return moe?.slots ?? 0;
    if (name.startsWith('decoder/')) return sequenceLength;
    if (name.startsWith('vision/')) return images * patches;
    const readsPatches = /^connector\/(before|norm|key|value)\//.test(name);
    return images * (readsPatches ? patches : connector.tokensPerImage);
  };
  const products = parametersOf(config).filter(
    ({ name, shape }) => shape.length >= 2 && !/(^|\/)positions$|depthwise|queries$/.test(name),
  );
  const of = (isMeant: (name: string) => boolean) =>
    sum(
      products.filter(({ name }) => isMeant(name)),
      (spec) => 2 * rowsOf(spec) * size(spec),
    );
  const decoderAttention = 4 * decoder.depth * sequenceLength ** 2 * decoder.heads * decoder.headWidth;
  const encoderAttention = 4 * (vision.featureLayer ?? vision.depth) * images * patches ** 2 * vision.width;
  const blocks = of((name) => name.includes('/layers/'));
  const decoderForward = of((name) => name.startsWith('decoder/')) + decoderAttention;
  const imagesForward = of((name) => !name.startsWith('decoder/')) + encoderAttention;
  const attention = decoderAttention + encoderAttention;
  const again = { none: 0, selective: attention, full: blocks + attention }[mode];
  return { decoder: 3 * decoderForward, images: 3 * imagesForward, again };
}

/** Bytes that a microbatch moves, of one device. */
export interface MicrobatchTraffic {
  /** Results of all-gathers and inputs of reduce-scatters, as a compiled program counts them. */
  readonly gathered: number;
  readonly scattered: number;
  /** What it sends for them. */
  readonly sent: number;
  /** What it sends for sums of activations over `tensor`, which the next product waits for. */
  readonly summed: number;
  /** What each host gets from others where a mesh spans several. */
  readonly fromOtherHosts: number;
}

/**
 * Weights are gathered as operands, those of blocks again in a second pass; gradients are scattered in float32. What MoE
 * layers send for tokens is not among it.
 */
export function microbatchTraffic(config: RunConfig, mesh: Mesh, devicesPerHost: number): MicrobatchTraffic {
  const operand = operandBytes(config);
  const isTwice = config.activationCheckpointing !== 'none';
  let [gathered, scattered, sent, fromOtherHosts] = [0, 0, 0, 0];
  for (const spec of workerParameters(config)) {
    if (!isCut(spec, mesh)) continue;
    const whole = gatheredBytes(arrayOf(spec), mesh);
    const passes = isTwice && spec.name.includes('/layers/') ? 2 : 1;
    const moved = { gathered: (passes * whole * operand) / FP32, scattered: isTrained(config, spec) ? whole : 0 };
    gathered += moved.gathered;
    scattered += moved.scattered;
    const parts = whole / shardBytes(arrayOf(spec), mesh);
    sent += (moved.gathered + moved.scattered) * (1 - 1 / parts);
    const hosts = Math.max(1, (parts * mesh.tensor) / devicesPerHost);
    const slices = Math.min(mesh.tensor, devicesPerHost);
    fromOtherHosts += (moved.gathered + moved.scattered) * slices * (1 - 1 / hosts);
  }
  return { gathered, scattered, sent, summed: summedBytes(config, mesh), fromOtherHosts };
}

/** Two sums a block in each pass, forward, backward, and where all is computed again. */
function summedBytes(config: RunConfig, mesh: Mesh): number {
  const passes = config.activationCheckpointing === 'full' ? 3 : 2;
  const layers = isEncoderRun(config)
    ? sum(encoderParts(config), ({ rows, depth, shape }) => config.microbatchSize * rows * depth * shape.width) /
      (mesh.fsdp * mesh.expert)
    : blockElements(config, mesh);
  return 2 * (1 - 1 / mesh.tensor) * passes * 2 * operandBytes(config) * layers;
}

/** Of the inputs of all blocks of a microbatch, on one device. */
function blockElements(config: RunConfig, mesh: Mesh): number {
  const { vision, decoder } = config.model;
  const { positions, patches } = deviceRows(config, mesh);
  return positions * decoder.width * decoder.depth + patches * vision.width * (vision.featureLayer ?? vision.depth);
}

/** What the expert worker with the most experts holds of them: weights with moments, and gradients. */
export function expertWorkerState(config: RunConfig): { readonly state: number; readonly gradients: number } {
  const { model, expertWorkers } = config;
  const experts = model.decoder.moe?.experts ?? 1;
  const share = Math.ceil(experts / Math.max(1, expertWorkers)) / experts;
  const stacks = parametersOf(config).filter(({ name }) => isExpertStack(name));
  const trained = stacks.filter((spec) => isTrained(config, spec));
  const alone: Mesh = { fsdp: 1, tensor: 1, expert: 1 };
  const optimizer = sum(trained, (spec) => optimizerBytes(config, spec, alone));
  // A copy of another one's experts has moments and gradients too.
  const held = config.expertCopies === true && expertWorkers > 1 ? 2 : 1;
  return {
    state: held * share * (FP32 * sum(stacks, size) + optimizer),
    gradients: held * FP32 * share * sum(trained, size),
  };
}

/** What is computed of a microbatch last, on one device: its logits, or what an encoder's loss needs. */
export function logitsBytes(config: RunConfig): number {
  const { model, microbatchSize } = config;
  if (isEncoderRun(config)) return lossBytes(config, { fsdp: 1, tensor: 1, expert: 1 });
  return FP32 * microbatchSize * model.sequenceLength * model.decoder.vocabularySize;
}

/** Bytes of the gradients of all devices of a worker. */
export function gradientBytes(config: RunConfig): number {
  return (
    FP32 *
    sum(
      workerParameters(config).filter((spec) => isTrained(config, spec)),
      size,
    )
  );
}

/** By model and task: a search for a layout asks for them hundreds of times. */
const known = new WeakMap<RunConfig['model'], Map<RunConfig['task'], readonly ParameterSpec[]>>();

function parametersOf({ model, task }: Pick<RunConfig, 'model' | 'task'>): readonly ParameterSpec[] {
  const byTask = known.get(model) ?? new Map<RunConfig['task'], readonly ParameterSpec[]>();
  known.set(model, byTask);
  const parameters = byTask.get(task) ?? taskParameters({ model, task });
  byTask.set(task, parameters);
  return parameters;
}

/** Expert workers hold the experts where a run has them. */
function workerParameters(config: RunConfig): readonly ParameterSpec[] {
  return parametersOf(config).filter(({ name }) => config.expertWorkers === 0 || !isExpertStack(name));
}

function isTrained({ optimizer }: RunConfig, { name }: ParameterSpec): boolean {
  return learningRateFactor(optimizer.learningRateFactors, name) !== 0;
}

/** Whether an array must be gathered before it is used. */
function isCut(spec: ParameterSpec, mesh: Mesh): boolean {
  return gatheredBytes(arrayOf(spec), mesh) > shardBytes(arrayOf(spec), mesh);
}

function arrayOf({ shape, axes }: ParameterSpec) {
  return { shape, axes, dtype: 'float32' } as const;
}

function size({ shape }: ParameterSpec): number {
  return shape.reduce((product, length) => product * length, 1);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
