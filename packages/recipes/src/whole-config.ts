import type { EngineConfig, OptimizerConfig, RunConfig } from '@weft/config';

/** What whoever launches a run decides. */
type Elsewhere =
  | 'initFrom'
  | 'minWorkers'
  | 'activationCheckpointing'
  | 'expertWorkers'
  | 'microbatchesInFlight'
  | 'queue'
  | 'evaluation'
  | 'learningRateSource';

/**
 * A complete run as a recipe writes it. Two fields may be left to the house rule, so that they follow
 * when a person changes what they depend on: `optimizer.weightDecay` is 0.1·learningRate (MM1's law),
 * and `optimizer.warmupSteps` a twentieth of the steps, at most 2,000. How a run queues, is evaluated,
 * on how many devices and where its experts live is not a recipe's business.
 */
export interface WholeConfig extends Omit<RunConfig, 'optimizer' | 'engine' | Elsewhere> {
  readonly engine: Omit<EngineConfig, 'mesh'>;
  readonly optimizer: Omit<OptimizerConfig, 'weightDecay' | 'warmupSteps'> &
    Partial<Pick<OptimizerConfig, 'weightDecay' | 'warmupSteps'>>;
}
