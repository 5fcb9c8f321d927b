import { blockwiseAttention, blockwiseAttentionGradient } from './attention-blockwise.js';
import { canFuseAttention, fusedAttention, fusedAttentionGradient } from './attention-fused.js';
import { input, type Lowering } from './lowering.js';

/**
 * Attention and its gradient: in a kernel of cuDNN where the device has one for such heads and types, else block by block.
 */
export const ATTENTION: Readonly<Record<'Attention' | 'AttentionGrad', Lowering>> = {
  Attention: (builder, inputs, op) =>
    builder.attention === 'fused' && canFuseAttention(input(inputs, 0))
      ? fusedAttention(builder, inputs, op)
      : blockwiseAttention(builder, inputs, op),
  AttentionGrad: (builder, inputs, op) =>
    builder.attention === 'fused' && canFuseAttention(input(inputs, 0))
      ? fusedAttentionGradient(builder, inputs, op)
      : blockwiseAttentionGradient(builder, inputs, op),
};
