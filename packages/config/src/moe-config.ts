import type { Precision } from './run-config.js';

/** The capacity of experts that never drop a token: room for every token of a group. */
export const DROPLESS = 'dropless';

/**
 * Sparse feed-forward layers: every token is computed by the two experts its router prefers (GShard, ST-MoE; the
 * semantics are AXLearn's Top2Gating). An expert has the shape of the dense feed-forward layer it replaces.
 */
export interface MoeConfig {
  /** Experts of every sparse layer; at least 2. */
  readonly experts: number;
  /** Every so many-th layer is sparse, the last of each such run of layers: 2 makes layers 1, 3, 5, … sparse. */
  readonly everyLayers: number;
  /**
   * How many tokens an expert takes of a group of S tokens: max(1, ⌊S·capacityFactor/experts⌋); what is beyond is
   * dropped and goes on through the residual alone. `dropless` takes all S of them, at experts/2 times the memory and
   * compute of a factor of 2.
   */
  readonly capacityFactor: number | typeof DROPLESS;
  /**
   * Tokens that share the experts' capacity; divides the tokens of a microbatch, 0 makes the microbatch one group.
   * The length of a sequence, or a divisor of it, makes drops independent of microbatchSize and workers.
   */
  readonly groupSize: number;
  /** Weight of the load-balance loss in the training objective; 0.01 in MM1. */
  readonly loadBalanceWeight: number;
  /** Weight of the router's z-loss in the training objective; 0.001 in MM1. */
  readonly routerZWeight: number;
  /** In training, what routers read is multiplied by seeded noise from [1 − jitter, 1 + jitter); 0 turns it off. */
  readonly jitter: number;
  /** The form in which tokens travel to expert workers and back. */
  readonly exchangePrecision: Precision;
}
