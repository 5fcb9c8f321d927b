import type { VisionActivation } from './vision-config.js';

/** What a run trains, and what only that task needs to know. */
export type TaskConfig = LanguageModelTaskConfig | EncoderTaskConfig;

/** A task that trains an image encoder alone, on pairs of an image and a caption: `model.vision` is all it has of the model. */
export type EncoderTaskConfig = ContrastiveTaskConfig | ReconstructiveTaskConfig;

/** The values of `task.kind`. */
export const TRAIN_TASKS = ['languageModel', 'contrastive', 'reconstructive'] as const;

/** Multimodal language modelling: the next text token of packed sequences of texts and images. */
export interface LanguageModelTaskConfig {
  readonly kind: 'languageModel';
}

/** How the patches of an image become one vector: a class token reads them, or a learned query with weights of its own. */
export const POOLINGS = ['classToken', 'attentionPool'] as const;

/**
 * CLIP (Radford et al., 2021): images and captions are mapped to unit vectors, so that those of a pair are more alike than
 * those of any other image and caption of the step. `model.sequenceLength` is the length of a caption, its end included.
 */
export interface ContrastiveTaskConfig {
  readonly kind: 'contrastive';
  /** Elements of the vectors that are compared. */
  readonly embeddingWidth: number;
  readonly pooling: (typeof POOLINGS)[number];
  /** What similarities are multiplied by before the first step; it is learned, and at most `MAX_SCALE`. */
  readonly initialScale: number;
  readonly text: TextTowerConfig;
}

/** The most that similarities are multiplied by, as in CLIP. */
export const MAX_SCALE = 100;

/** The text tower of CLIP: a causal transformer with learned positions, read at the end of the caption. */
export interface TextTowerConfig {
  readonly vocabularySize: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly feedForwardWidth: number;
  readonly activation: VisionActivation;
  readonly normEpsilon: number;
}

/**
 * AIM (El-Nouby et al., 2024): every patch of an image is predicted from those before it. Of the first ones, the prefix, all
 * read each other, and none is predicted; its length is drawn for every image.
 */
export interface ReconstructiveTaskConfig {
  readonly kind: 'reconstructive';
  /** The width of the perceptrons between the encoder and the predicted pixels. */
  readonly headWidth: number;
  /** How many there are. */
  readonly headDepth: number;
}

/** The task of a run that names none, also of one that an older version launched. */
export const DEFAULT_TASK: TaskConfig = { kind: 'languageModel' };

/** Whether a run trains an image encoder alone. */
export function isEncoderTask(task: TaskConfig): task is EncoderTaskConfig {
  return task.kind !== 'languageModel';
}
