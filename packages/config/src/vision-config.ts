/** The functions between the two layers of the encoder's feed-forward: GELU, and CLIP's approximation of it. */
export const VISION_ACTIVATIONS = ['quickGelu', 'gelu'] as const;
export type VisionActivation = (typeof VISION_ACTIVATIONS)[number];

/** The vision encoder, a ViT: its sizes, and in which variant. */
export interface VisionConfig extends VisionVariant {
  /** Height and width of the square input, pixels. */
  readonly imageSize: number;
  /** Height and width of one patch, pixels; divides `imageSize`. */
  readonly patchSize: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly feedForwardWidth: number;
}

/** In what published encoders differ, so that their weights fit. */
export interface VisionVariant {
  /** Whether a learned vector stands before the patches; the patches read it, the connector does not. */
  readonly classToken: boolean;
  /** Whether a LayerNorm stands before the first block. */
  readonly inputNorm: boolean;
  readonly patchBias: boolean;
  readonly keyBias: boolean;
  readonly activation: VisionActivation;
  /** The epsilon of every LayerNorm. */
  readonly normEpsilon: number;
  /** The connector reads the output of this block, counted from 1; those after it do not exist. Null: of the last. */
  readonly featureLayer: number | null;
  /** Whether the connector reads it through a last LayerNorm. */
  readonly outputNorm: boolean;
}

/** The encoder that a run gets which says nothing of a variant, also one that an older version launched. */
export const DEFAULT_VISION: VisionVariant = {
  classToken: false,
  inputNorm: false,
  patchBias: true,
  keyBias: false,
  activation: 'quickGelu',
  normEpsilon: 1e-5,
  featureLayer: null,
  outputNorm: true,
};
