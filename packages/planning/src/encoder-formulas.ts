import type { Mesh } from '@weft/backend-pjrt';
import { type EncoderTaskConfig, isEncoderTask, type RunConfig } from '@weft/config';
import { contrastiveParameters, modelParameters, type ParameterSpec, reconstructionParameters } from '@weft/model';

// What the formulas of a plan need to know of runs that train an image encoder alone.

/** A run that trains an image encoder alone. */
export type EncoderRun = RunConfig & { readonly task: EncoderTaskConfig };

/** Whether a run trains an image encoder alone. */
export function isEncoderRun(config: RunConfig): config is EncoderRun {
  return isEncoderTask(config.task);
}

/** The parameters of any run, by its task. */
export function taskParameters({ model, task }: Pick<RunConfig, 'model' | 'task'>): readonly ParameterSpec[] {
  if (task.kind === 'contrastive') return contrastiveParameters({ model, task });
  if (task.kind === 'reconstructive') return reconstructionParameters(model.vision, task);
  return modelParameters(model);
}

/** A row of one of its transformers: how many there are of a sequence, in how many blocks of which shape. */
export interface EncoderPart {
  readonly name: 'vision' | 'text';
  readonly rows: number;
  readonly depth: number;
  readonly shape: {
    readonly width: number;
    readonly heads: number;
    readonly keyValueHeads: number;
    readonly feedForwardWidth: number;
    readonly isGated: false;
  };
}

/** The image tower, and the text tower of a contrastive run. Sequences of such a run have one image each. */
export function encoderParts({ model, task }: EncoderRun): readonly EncoderPart[] {
  const { vision, sequenceLength } = model;
  const patches = (vision.imageSize / vision.patchSize) ** 2 + (vision.classToken ? 1 : 0);
  const part = (
    name: EncoderPart['name'],
    rows: number,
    depth: number,
    of: Omit<EncoderPart['shape'], 'keyValueHeads' | 'isGated'>,
  ): EncoderPart => {
    const { width, heads, feedForwardWidth } = of;
    return { name, rows, depth, shape: { width, heads, keyValueHeads: heads, feedForwardWidth, isGated: false } };
  };
  return [
    part('vision', patches, vision.featureLayer ?? vision.depth, vision),
    ...(task.kind === 'contrastive' ? [part('text', sequenceLength, task.text.depth, task.text)] : []),
  ];
}

const FP32 = 4;

/**
 * The bytes that the loss of a microbatch takes on one device: of a contrastive run the features and normalisers of the
 * whole step, and four arrays of the similarities of its pairs to all; of a reconstructive one four arrays of pixels.
 */
export function lossBytes({ model, task, globalBatchSize, microbatchSize }: EncoderRun, mesh: Mesh): number {
  const sequences = microbatchSize / (mesh.fsdp * mesh.expert);
  if (task.kind === 'contrastive')
    return FP32 * (globalBatchSize * (2 * task.embeddingWidth + 2) + 4 * sequences * globalBatchSize);
  return FP32 * sequences * 4 * 3 * model.vision.imageSize ** 2;
}

/** The bytes that the head of a reconstructive run keeps of a microbatch on one device. No part of it is computed again. */
export function headBytes({ model, task, microbatchSize }: EncoderRun, mesh: Mesh): number {
  if (task.kind !== 'reconstructive') return 0;
  const { imageSize, patchSize } = model.vision;
  const rows = (microbatchSize * (imageSize / patchSize) ** 2) / (mesh.fsdp * mesh.expert);
  return FP32 * rows * task.headDepth * HEAD_VALUES * task.headWidth;
}

/** Kept of a row of a perceptron, in widths: its input, its norm, and the four times wider middle before and after its function. */
const HEAD_VALUES = 10;

/** Floating-point operations of the forward pass of one sequence: of the image tower and what reads it, and of the text tower. */
export function encoderForward(config: EncoderRun): {
  readonly images: number;
  readonly text: number;
  readonly attention: number;
} {
  const parts = encoderParts(config);
  const rowsOf = (part: EncoderPart['name']) => parts.find(({ name }) => name === part)?.rows ?? 0;
  const { imageSize, patchSize } = config.model.vision;
  const patches = (imageSize / patchSize) ** 2;
  let [images, text] = [0, 0];
  for (const { name, shape } of taskParameters(config)) {
    if (shape.length < 2 || /(^|\/)(positions|queries|embedding)$/.test(name)) continue;
    const flops = 2 * shape.reduce((product, size) => product * size, 1);
    if (name === 'text/projection') text += flops;
    else if (name.startsWith('text/')) text += rowsOf('text') * flops;
    else if (/^(vision\/patch|imagePool\/(key|value))\//.test(name)) images += patches * flops;
    else if (name.startsWith('vision/')) images += rowsOf('vision') * flops;
    // AIM predicts from every patch but the last.
    else if (name.startsWith('head/')) images += (patches - 1) * flops;
    else images += flops;
  }
  // AIM computes both kinds of attention.
  const kinds = config.task.kind === 'reconstructive' ? 2 : 1;
  const attentionOf = ({ rows, depth, shape }: EncoderPart) => 4 * depth * rows ** 2 * shape.width;
  const ofImages =
    kinds * parts.filter(({ name }) => name === 'vision').reduce((sum, part) => sum + attentionOf(part), 0);
  const ofText = parts.filter(({ name }) => name === 'text').reduce((sum, part) => sum + attentionOf(part), 0);
  return { images: images + ofImages, text: text + ofText, attention: ofImages + ofText };
}
