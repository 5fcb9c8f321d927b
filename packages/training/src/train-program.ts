import type { RunConfig } from '@weft/config';
import { batchSpecs, isExpertTensor, modelParameters, moeSignalsLength } from '@weft/model';
import { remoteInputs } from './experts/remote-experts.js';
import { evaluatePhase } from './held-out-loss.js';
import { microbatchGradients } from './microbatch-gradients.js';
import { stepProgram, type TrainProgram } from './step-program.js';
import { isStoredExpert } from './stored-state.js';

export type { TrainPhase, TrainProgram } from './step-program.js';

/**
 * The training of a run's model, phase by phase as `stepProgram` has it. Where the run has expert workers, the MoE layers
 * of `gradients` give out rows and wait for late inputs, see `exchangeNames`. Where sequences are held out there is
 * `evaluate` as well, see `evaluatePhase`.
 */
export function trainProgram(config: RunConfig): TrainProgram {
  const { model, data, microbatchSize, optimizer, steps } = config;
  const hasExperts = config.expertWorkers === 0;
  const parameters = modelParameters(model).filter(({ name }) => hasExperts || !isExpertTensor(name));
  const program = stepProgram({
    name: config.recipe,
    parameters,
    batch: {
      ...batchSpecs(model, microbatchSize, data.imagesPerSequence),
      ...(hasExperts ? {} : remoteInputs(config)),
    },
    gradients: (context, buckets) => microbatchGradients(config, parameters, buckets, context),
    signals: moeSignalsLength(model),
    optimizer,
    steps,
    isElsewhere: (name) => !hasExperts && isStoredExpert(name),
  });
  if (config.evaluation.sequencesPerSource === 0) return program;
  return { ...program, phases: { ...program.phases, evaluate: evaluatePhase(config) } };
}
