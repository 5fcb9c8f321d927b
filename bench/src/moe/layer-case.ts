import type { ModelConfig, MoeConfig, Precision } from '@weft/config';
import { recipe } from '@weft/recipes';

/** The sizes of a measured MoE layer. */
export interface LayerSize {
  readonly name: string;
  /** Tokens of a microbatch, all in one group. */
  readonly tokens: number;
  readonly width: number;
  readonly hidden: number;
  readonly experts: number;
  readonly capacityFactor: number;
}

export const LAYER_SIZES: readonly LayerSize[] = [
  { name: 'moe-256', tokens: 1024, width: 256, hidden: 768, experts: 8, capacityFactor: 2 },
  { name: 'moe-512', tokens: 2048, width: 512, hidden: 1408, experts: 8, capacityFactor: 2 },
];

/** One comparison: everybody computes the same layer with the same means. */
export interface LayerCase {
  readonly size: LayerSize;
  readonly precision: Precision;
  readonly threads: number;
}

/** The routing of a measured layer, the same for everybody. */
export function moeConfig({ experts, capacityFactor }: LayerSize): MoeConfig {
  return {
    experts,
    everyLayers: 1,
    capacityFactor,
    groupSize: 0,
    loadBalanceWeight: 0.01,
    routerZWeight: 0.001,
    jitter: 0,
    exchangePrecision: 'fp32',
  };
}

/** A model with this layer; nothing else of it is used. */
export function modelWith(size: LayerSize): ModelConfig {
  const { model } = recipe('mm1Tiny');
  const { width, hidden: feedForwardWidth } = size;
  return { ...model, decoder: { ...model.decoder, depth: 1, width, feedForwardWidth, moe: moeConfig(size) } };
}

/** Floating point operations of forward and backward: three matrix products of every expert over all its slots. */
export function layerFlops({ tokens, width, hidden, experts, capacityFactor }: LayerSize): number {
  const slots = experts * Math.floor((tokens * capacityFactor) / experts);
  return 3 * 2 * slots * 3 * width * hidden;
}
