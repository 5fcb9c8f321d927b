import { mapSources, type PerSource } from '@weft/common';
import { axesOfArray, isEncoderTask, learningRateFactor, optimizerArrays, type RunConfig } from '@weft/config';
import { scheduleOf } from '@weft/mixture';
import {
  countParameters,
  isExpertStack,
  moeLayerIndices,
  moeShape,
  type ParameterCounts,
  type ParameterSpec,
} from '@weft/model';

/** What can be computed from a configuration before anything runs: `weft launch --dry-run`. */
export interface RunEstimates {
  readonly parameters: ParameterCounts;
  /** Positions of all sequences of a step, image tokens included. */
  readonly tokensPerStep: number;
  readonly tokensTotal: number;
  /** Sequences of each source in the whole run, exact. */
  readonly sequencesTotal: PerSource<number>;
  /** The mean share of a step. */
  readonly sequencesPerStep: PerSource<number>;
  /** Sequences and microbatches of the rank that has the most of them. */
  readonly sequencesPerRank: number;
  readonly microbatchesPerRank: number;
  readonly mostImagesPerMicrobatch: number;
  /** `null` for a dense model. */
  readonly experts: ExpertEstimates | null;
  /**
   * Resident on every worker, without activations: fp32 weights, gradients, and what the optimizer keeps. Experts are
   * among them unless expert workers hold them; what is frozen has weights alone.
   */
  readonly weightsBytes: number;
  readonly gradientsBytes: number;
  readonly optimizerBytes: number;
  readonly residentBytes: number;
  /** Inputs of all blocks of decoder and vision encoder for one microbatch: what full activation checkpointing keeps. */
  readonly blockInputBytes: number;
  /** Weights and what the optimizer keeps, spread over the shards of all ranks. */
  readonly checkpointBytes: number;
  /** What one rank sends per step in the ring all-reduce. */
  readonly ringBytesPerStep: number;
  /** The estimate 6·N·D for the decoder, floating-point operations of the whole run; N is what one token uses. */
  readonly decoderFlops: number;
}

const FP32_BYTES = 4;

type Parameter = Pick<ParameterSpec, 'name' | 'shape'>;

/**
 * Arithmetic only.
 * @param specs of all parameters of the task, those of experts too
 */
export function estimateRun(config: RunConfig, specs: readonly Parameter[]): RunEstimates {
  const { globalBatchSize, microbatchSize, workers, steps, data, model, task } = config;
  const parameters = countParameters(model, specs);
  const schedule = scheduleOf(config);
  const totalWeight = Object.values(data.weights).reduce((sum, weight) => sum + weight, 0);
  const tokensPerStep = globalBatchSize * (task.kind === 'reconstructive' ? patchesOf(model) : model.sequenceLength);
  const sequencesPerRank = Math.ceil(globalBatchSize / workers);
  const isRemote = config.expertWorkers > 0;
  const idle = parameters.total - parameters.active;
  const own = stateBytes(
    config,
    specs.filter(({ name }) => !isRemote || !isExpertStack(name)),
  );
  const all = stateBytes(config, specs);
  return {
    parameters,
    tokensPerStep,
    tokensTotal: tokensPerStep * steps,
    sequencesTotal: schedule.countsBefore(globalBatchSize * steps),
    sequencesPerStep: mapSources(data.weights, (weight) => (globalBatchSize * weight) / totalWeight),
    sequencesPerRank,
    microbatchesPerRank: Math.ceil(sequencesPerRank / microbatchSize),
    mostImagesPerMicrobatch: microbatchSize * imagesPerSequence(config),
    experts: estimateExperts(config, specs),
    weightsBytes: own.weights,
    gradientsBytes: own.gradients,
    optimizerBytes: own.optimizer,
    residentBytes: own.weights + own.gradients + own.optimizer,
    blockInputBytes: blockInputBytes(config),
    checkpointBytes: all.weights + all.optimizer,
    ringBytesPerStep: workers === 1 ? 0 : Math.round((2 * (workers - 1) * own.gradients) / workers),
    decoderFlops: 6 * (parameters.decoderNonEmbedding - idle) * tokensPerStep * steps,
  };
}

/** Bytes of some parameters, and of what training keeps beside those that are not frozen. */
function stateBytes({ optimizer }: RunConfig, specs: readonly Parameter[]) {
  const trained = specs.filter(({ name }) => learningRateFactor(optimizer.learningRateFactors, name) !== 0);
  const kept = trained.flatMap(({ shape }) =>
    optimizerArrays(optimizer.kind, shape.length).map((array) => ({ shape: axesOfArray(array, shape) })),
  );
  return { weights: bytesOf(specs), gradients: bytesOf(trained), optimizer: bytesOf(kept) };
}

function bytesOf(arrays: readonly Pick<ParameterSpec, 'shape'>[]): number {
  return arrays.reduce((sum, { shape }) => sum + FP32_BYTES * shape.reduce((product, size) => product * size, 1), 0);
}

/** A pair has one image. */
function imagesPerSequence({ data, task }: RunConfig): number {
  return isEncoderTask(task) ? 1 : data.imagesPerSequence;
}

function patchesOf({ vision }: RunConfig['model']): number {
  return (vision.imageSize / vision.patchSize) ** 2;
}

function blockInputBytes(config: RunConfig): number {
  const { microbatchSize, task, model } = config;
  const { sequenceLength, vision, decoder } = model;
  const ofImages = imagesPerSequence(config) * patchesOf(model) * vision.width * vision.depth;
  const text = isEncoderTask(task) ? (task.kind === 'contrastive' ? task.text : { width: 0, depth: 0 }) : decoder;
  return FP32_BYTES * microbatchSize * (sequenceLength * text.width * text.depth + ofImages);
}

/** Estimates for the experts of a configuration. */
export interface ExpertEstimates {
  /** MoE layers, and the experts of each. */
  readonly layers: number;
  readonly perLayer: number;
  /** Slots of all experts of a layer in a microbatch. */
  readonly slotsPerMicrobatch: number;
  /** `null` where every worker holds all experts. */
  readonly hosts: ExpertWorkerEstimates | null;
}

/** Estimates for experts in processes of their own. */
export interface ExpertWorkerEstimates {
  /** Experts of every layer on the expert worker that has the most of them. */
  readonly mostExperts: number;
  /** Of that one: weights, gradients and what the optimizer keeps, fp32. */
  readonly residentBytes: number;
  /** Rows that all ranks together send to experts in a step when nothing is dropped: two a token and MoE layer. */
  readonly rowsPerStep: number;
  /** Those rows to the experts and back, in the forward and the backward pass. */
  readonly bytesPerStep: number;
}

const BYTES = { fp32: 4, bf16: 2 } as const;
/** Every token goes to two experts. */
const TOP_K = 2;
/** To the experts and back, in the forward and the backward pass. */
const TRANSFERS = 4;

function estimateExperts(config: RunConfig, specs: readonly Parameter[]): ExpertEstimates | null {
  const { model, microbatchSize, globalBatchSize, expertWorkers } = config;
  const { decoder, sequenceLength } = model;
  if (decoder.moe === null) return null;
  const { experts, exchangePrecision } = decoder.moe;
  const layers = moeLayerIndices(decoder).length;
  const own = { layers, perLayer: experts, slotsPerMicrobatch: experts * moeShape(model, microbatchSize).slots };
  if (expertWorkers === 0) return { ...own, hosts: null };
  const mostExperts = Math.ceil(experts / expertWorkers);
  const rowsPerStep = TOP_K * globalBatchSize * sequenceLength * layers;
  const { weights, gradients, optimizer } = stateBytes(
    config,
    specs.filter(({ name }) => isExpertStack(name)),
  );
  const hosts = {
    mostExperts,
    residentBytes: (weights + gradients + optimizer) * (mostExperts / experts),
    rowsPerStep,
    bytesPerStep: TRANSFERS * rowsPerStep * decoder.width * BYTES[exchangePrecision],
  };
  return { ...own, hosts };
}
