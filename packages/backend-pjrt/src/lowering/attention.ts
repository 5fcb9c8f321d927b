import { blockwiseAttention, blockwiseAttentionGradient } from './attention-blockwise.js';
import type { Lowering } from './lowering.js';

/** Attention and its gradient. */
export const ATTENTION: Readonly<Record<'Attention' | 'AttentionGrad', Lowering>> = {
  Attention: blockwiseAttention,
  AttentionGrad: blockwiseAttentionGradient,
};
