import type { GridInput, RunConfig } from '@weft/config';

/** The figures and tables of MM1 that `weft ablate` makes. */
export const FIGURES = ['encoder', 'resolution', 'connector', 'data', 'encoder-loss'] as const;
export type Figure = (typeof FIGURES)[number];

/** Encoders of the paper's shape have this patch size; others are those of the demo, where all sizes are smaller. */
const PAPER_PATCH = 14;
/** Shots need long sequences: in shorter ones than this four do not fit. */
const LONG_SEQUENCE = 512;

/**
 * The grid of one of the paper's figures, for the size of a run.
 *
 * What is varied is the paper's. Where its values have no meaning for a smaller model they keep their ratios: image sizes
 * 2:3 and numbers of tokens 4:9. The points of `data` between the ones that the paper reports are ours.
 *
 * @param base the run that all cells begin with
 * @param recipe its name or file
 */
export function figureGrid(figure: Figure, base: RunConfig, recipe: string): GridInput {
  const isPaper = base.model.vision.patchSize === PAPER_PATCH;
  const evaluation =
    isPaper || Object.keys(base.evaluation.tasks).length > 0 ? {} : { evaluation: demoEvaluation(base) };
  const common = { name: figure, recipe, run: evaluation };
  switch (figure) {
    case 'connector':
      return {
        ...common,
        title: 'Connectors: their kind, image tokens and image size',
        axes: {
          connector: kinds,
          tokens: byName(isPaper ? [64, 144] : twoTokens(base), (tokensPerImage) => ({
            connector: { tokensPerImage },
          })),
          'image size': imageSizes(isPaper ? [224, 336] : twoSizes(base)),
        },
      };
    case 'resolution':
      return {
        ...common,
        title: 'Image resolution',
        axes: {
          'image size': imageSizes(isPaper ? [224, 336, 378] : [...twoSizes(base), 2 * base.model.vision.imageSize]),
        },
      };
    case 'data':
      return { ...common, title: 'Data mixtures: captioned, interleaved, text', axes: { mixture: mixtures } };
    case 'encoder':
      return encoders(common, isPaper);
    case 'encoder-loss':
      return encoderLosses(common, isPaper);
  }
}

type Common = Pick<GridInput, 'name' | 'recipe' | 'run'>;

const kinds = {
  'average pooling': { model: { connector: { kind: 'averagePool' } } },
  'attention pooling': { model: { connector: { kind: 'attentionPool' } } },
  'C-Abstractor': { model: { connector: { kind: 'cAbstractor' } } },
};

function byName(values: readonly number[], modelOf: (value: number) => object) {
  return Object.fromEntries(values.map((value) => [`${value}`, { model: modelOf(value) }]));
}

const imageSizes = (sizes: readonly number[]) =>
  Object.fromEntries(sizes.map((imageSize) => [`${imageSize} px`, { model: { vision: { imageSize } } }]));

/** The size of the run and one half again as large: 2:3, as 224:336. */
function twoSizes({ model: { vision } }: RunConfig): readonly number[] {
  const { imageSize, patchSize } = vision;
  return [imageSize, Math.round((1.5 * imageSize) / patchSize) * patchSize];
}

/** 4 and 9 tokens, as 64 and 144; fewer where the smaller image has no 3×3 patches. */
function twoTokens({ model: { vision } }: RunConfig): readonly number[] {
  return vision.imageSize / vision.patchSize >= 3 ? [4, 9] : [1, 4];
}

/**
 * Shares of captioned and interleaved data without text, as in the paper's first data figure, and with it: captions or
 * documents alone, and the 5:5:1 that it chooses.
 */
const mixtures = Object.fromEntries(
  ['1:0:0', '2:1:0', '1:1:0', '1:2:0', '0:1:0', '10:0:1', '0:10:1', '5:5:1'].map((weights) => [
    weights,
    { data: { weights } },
  ]),
);

/** Captions and questions from held-out sequences of the demo data. */
function demoEvaluation({ model, evaluation }: RunConfig) {
  return {
    tasks: {
      captions: { kind: 'caption', examples: 'heldOut' },
      questions: { kind: 'question', examples: 'heldOut' },
    },
    shots: model.sequenceLength >= LONG_SEQUENCE ? [0, 4, 8] : [0, 1],
    sequencesPerSource: Math.max(16, evaluation.sequencesPerSource),
    examplesPerTask: 64,
  };
}

/** An encoder that is pre-trained before the runs that begin from it. */
interface Encoder {
  readonly label: string;
  readonly recipe: string;
  /** Default: that of the recipe. */
  readonly imageSize?: number;
  readonly width?: number;
}

const PAPER_ENCODERS: readonly Encoder[] = [
  { label: 'AIM 600M, 224 px', recipe: 'aim-600m' },
  { label: 'AIM 1B, 224 px', recipe: 'aim-1b' },
  { label: 'AIM 3B, 224 px', recipe: 'aim-3b' },
  { label: 'CLIP ViT-L, 224 px', recipe: 'clip-vit-l-14-336', imageSize: 224 },
  { label: 'CLIP ViT-H, 224 px', recipe: 'clip-vit-h-14-378', imageSize: 224 },
  { label: 'CLIP ViT-L, 336 px', recipe: 'clip-vit-l-14-336' },
  { label: 'CLIP ViT-H, 336 px', recipe: 'clip-vit-h-14-378', imageSize: 336 },
  { label: 'CLIP ViT-H, 378 px', recipe: 'clip-vit-h-14-378' },
];

const SMALL_ENCODERS: readonly Encoder[] = [
  { label: 'AIM', recipe: 'aim-tiny' },
  { label: 'CLIP, half as wide', recipe: 'clip-tiny', width: 48 },
  { label: 'CLIP', recipe: 'clip-tiny' },
  { label: 'CLIP, 48 px', recipe: 'clip-tiny', imageSize: 48 },
];

/** The paper's table of encoders: their losses, sizes and resolutions. */
function encoders(common: Common, isPaper: boolean): GridInput {
  return { ...common, title: 'Image encoders', ...pretrained(isPaper ? PAPER_ENCODERS : SMALL_ENCODERS) };
}

/** A contrastive encoder, a reconstructive one, and none. */
function encoderLosses(common: Common, isPaper: boolean): GridInput {
  const { first, axes } = pretrained([
    { label: 'contrastive (CLIP)', recipe: isPaper ? 'clip-vit-l-14-336' : 'clip-tiny' },
    { label: 'reconstructive (AIM)', recipe: isPaper ? 'aim-600m' : 'aim-tiny' },
  ]);
  const encoder = { ...axes.encoder, 'random, not pre-trained': {} };
  return { ...common, title: 'Losses of the image encoder', first, axes: { encoder } };
}

/** A cell for each encoder, and the run that it begins from. */
function pretrained(list: readonly Encoder[]) {
  const named = list.map((encoder) => {
    const { recipe, imageSize, width } = encoder;
    const size = imageSize === undefined ? '' : `-${imageSize}px`;
    const name = `${recipe}${size}${width === undefined ? '' : `-width-${width}`}`;
    const vision = { ...(imageSize === undefined ? {} : { imageSize }), ...(width === undefined ? {} : { width }) };
    return { ...encoder, name, first: { recipe, run: { model: { vision } } } };
  });
  return {
    first: Object.fromEntries(named.map(({ name, first }) => [name, first])),
    axes: {
      encoder: Object.fromEntries(named.map(({ label, name }) => [label, { initFrom: { vision: `first:${name}` } }])),
    },
  };
}
