import type { MoeReport as MoeReportMessage } from '@weft/proto';

/** What one MoE layer did in one step, over all ranks. */
export interface MoeLayerStats {
  /** The decoder layer, from 0. */
  readonly layer: number;
  /** Tokens that were routed; padding is not. Each is assigned to top-2 experts. */
  readonly tokens: number;
  /** By expert: assignments of the router, before any were dropped. */
  readonly routed: readonly number[];
  /** By expert: assignments dropped because the expert was over capacity. */
  readonly dropped: readonly number[];
  /** Dropped assignments as a part of all, 0 to 1. */
  readonly droppedShare: number;
  /** See `expertImbalance`. */
  readonly imbalance: number;
  /** Mean entropy of the router's distributions, nats; ln E when it is undecided. */
  readonly routerEntropy: number;
  /** Without its weight; 1 when experts are used evenly. */
  readonly loadBalanceLoss: number;
  /** Without its weight. */
  readonly routerZLoss: number;
}

/** The MoE layers of a step, and the cost of the exchange with the expert workers for the rank that reports. */
export interface MoeReport {
  readonly layers: readonly MoeLayerStats[];
  /** To the expert workers; 0 where experts are local. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Time in which the rank computed nothing because it waited for an expert worker. */
  readonly waitingSeconds: number;
}

/**
 * Assignments of the most used expert over those of the average one: 1 when even, E/2 at worst with top-2 routing,
 * 0 when nothing was routed.
 *
 * @param routed assignments by expert
 */
export function expertImbalance(routed: readonly number[]): number {
  const assignments = routed.reduce((sum, each) => sum + each, 0);
  return assignments === 0 ? 0 : (Math.max(...routed) * routed.length) / assignments;
}

/** For the wire, whose lists are mutable. */
export function moeReportToProto({ layers, ...exchange }: MoeReport): MoeReportMessage {
  return {
    ...exchange,
    layers: layers.map((layer) => ({ ...layer, routed: [...layer.routed], dropped: [...layer.dropped] })),
  };
}
