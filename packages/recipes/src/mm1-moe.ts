import { mm1_3b, mm1_7b } from './mm1.js';
import type { WholeConfig } from './whole-config.js';

/**
 * MM1-3B-MoE: 64 experts in every second layer of MM1-3B, 64 B parameters. Experts, cadence and the weights of the
 * router's losses are the paper's; with the decoder's public proxy shape the language model counts 63.8 B.
 */
export function mm1_3bMoe64e(): WholeConfig {
  return sparse('mm1-3b-moe-64e', mm1_3b(), 64, 2);
}

/**
 * MM1-7B-MoE: 32 experts in every fourth layer of MM1-7B. Experts, cadence and the weights of the router's losses are
 * the paper's. It gives 47 B parameters in all; the proxy shape, which is not the paper's, counts 40 B.
 */
export function mm1_7bMoe32e(): WholeConfig {
  return sparse('mm1-7b-moe-32e', mm1_7b(), 32, 4);
}

/**
 * The hyper-parameters stay those of the dense backbone. No source tells the capacity: 2 is the default of the
 * framework the models were trained with. Ours: a sequence is a group, tokens
 * travel to experts in bf16, and every expert of a layer has a process of its own (`--expert-workers 0`: all in each worker).
 */
function sparse(recipe: string, dense: WholeConfig, experts: number, everyLayers: number): WholeConfig {
  const { model } = dense;
  const moe = {
    experts,
    everyLayers,
    capacityFactor: 2,
    groupSize: model.sequenceLength,
    loadBalanceWeight: 0.01,
    routerZWeight: 0.001,
    jitter: 0,
    exchangePrecision: 'bf16',
  } as const;
  return { ...dense, recipe, expertWorkers: experts, model: { ...model, decoder: { ...model.decoder, moe } } };
}
