import { debugTiny } from './debug-tiny.js';
import type { WholeConfig } from './whole-config.js';

/**
 * The quickstart with experts: every second layer of debugTiny's decoder becomes eight experts of which each token
 * uses two. `weft launch moeTiny --local --expert-workers 2` puts them into processes of their own. A sequence is a
 * group, so that drops depend neither on the workers nor on the microbatches; a rank has two microbatches a step, so
 * that one can compute while the other waits for experts. No number is a fact of the paper, except the weights of the
 * router's losses.
 */
export function moeTiny(): WholeConfig {
  const tiny = debugTiny();
  return {
    ...tiny,
    recipe: 'moeTiny',
    microbatchSize: 2,
    model: {
      ...tiny.model,
      decoder: {
        ...tiny.model.decoder,
        moe: {
          experts: 8,
          everyLayers: 2,
          capacityFactor: 2,
          groupSize: tiny.model.sequenceLength,
          loadBalanceWeight: 0.01,
          routerZWeight: 0.001,
          jitter: 0,
          exchangePrecision: 'fp32',
        },
      },
    },
  };
}
