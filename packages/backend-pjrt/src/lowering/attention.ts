import { attentionInputs, type LogicalAxes, type ValueInfo } from '@weft/tensor';
import { deviceCount, shardingOf } from '../mesh/mesh.js';
import { blockwiseAttention, blockwiseAttentionGradient } from './attention-blockwise.js';
import { canFuseAttention, fusedAttention, fusedAttentionGradient } from './attention-fused.js';
import type { AttentionLowering, Builder } from './builder.js';
import { input, type LoweredOp, type Lowering } from './lowering.js';
import type { Value } from './value.js';

/** Attention and its gradient: in a kernel of cuDNN where the device has one for such heads and types, else block by block. */
export const ATTENTION: Readonly<Record<'Attention' | 'AttentionGrad', Lowering>> = {
  Attention: (builder, inputs, op) => {
    const { q_BTHC } = attentionInputs(inputs);
    const [B = 1, T = 1, H = 1] = q_BTHC.shape;
    const results = [q_BTHC, { shape: [B, H, T], dtype: 'float32' } as const];
    return shardByShard(builder, inputs, results, FORWARD, op);
  },
  AttentionGrad: (builder, inputs, op) => shardByShard(builder, inputs, inputs.slice(0, 3), GRADIENT, op),
};

type Lowerings = Readonly<Record<AttentionLowering, (...of: Parameters<Lowering>) => readonly Value[]>>;
const FORWARD: Lowerings = { fused: fusedAttention, blockwise: blockwiseAttention };
const GRADIENT: Lowerings = { fused: fusedAttentionGradient, blockwise: blockwiseAttentionGradient };

/**
 * On a mesh every device computes its own sequences and heads by itself: none reads another, and the partitioner, which does
 * not know cuDNN's kernel, need not find that out. Where `tensor` does not divide the heads of keys as well as those of
 * queries, every device along it computes all heads.
 */
function shardByShard(
  builder: Builder,
  inputs: readonly Value[],
  results: readonly ValueInfo[],
  lowerings: Lowerings,
  op: LoweredOp,
): readonly Value[] {
  const { mesh } = builder;
  const { q_BTHC, k_BTJC } = attentionInputs(inputs);
  const write = (shards: readonly Value[]) => {
    const isFused = builder.attention === 'fused' && canFuseAttention(input(shards, 0));
    return lowerings[isFused ? 'fused' : 'blockwise'](builder, shards, op);
  };
  if (deviceCount(mesh) === 1) return write(inputs);
  const areHeadsCut = [q_BTHC, k_BTJC].every(({ shape: [, , heads = 1] }) => heads % mesh.tensor === 0);
  const heads = areHeadsCut ? 'heads' : null;
  /** By rank: queries, keys and their like; log-sum-exps [B, H, T]; segments [B, T]. */
  const axes: Readonly<Record<number, LogicalAxes>> = {
    4: ['batch', null, heads, null],
    3: ['batch', heads, null],
    2: ['batch', null],
  };
  const laid = <Of extends ValueInfo>(value: Of) => {
    return { value, sharding: shardingOf({ shape: value.shape, axes: axes[value.shape.length] }, mesh) };
  };
  return builder.onShards(inputs.map(laid), results.map(laid), write);
}
