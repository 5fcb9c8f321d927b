import { mapSources, type PerSource } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { MixtureSchedule } from '@weft/mixture';
import { moeLayerIndices, moeShape, type ParameterCounts } from '@weft/model';

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
   * Resident on every worker, without activations: fp32 weights, gradients, and the two moments of AdamW. Experts are
   * among them unless expert workers hold them.
   */
  readonly weightsBytes: number;
  readonly gradientsBytes: number;
  readonly optimizerBytes: number;
  readonly residentBytes: number;
  /** Inputs of all blocks of decoder and vision encoder for one microbatch: what full activation checkpointing keeps. */
  readonly blockInputBytes: number;
  /** Weights and moments, spread over the shards of all ranks. */
  readonly checkpointBytes: number;
  /** What one rank sends per step in the ring all-reduce. */
  readonly ringBytesPerStep: number;
  /** The estimate 6·N·D for the decoder, floating-point operations of the whole run; N is what one token uses. */
  readonly decoderFlops: number;
}

const FP32_BYTES = 4;

/** Arithmetic only; `parameters` come from `countParameters` of `@weft/model`. */
export function estimateRun(config: RunConfig, parameters: ParameterCounts): RunEstimates {
  const { globalBatchSize, microbatchSize, workers, steps, data, model } = config;
  const schedule = new MixtureSchedule(data.weights);
  const totalWeight = Object.values(data.weights).reduce((sum, weight) => sum + weight, 0);
  const tokensPerStep = globalBatchSize * model.sequenceLength;
  const sequencesPerRank = Math.ceil(globalBatchSize / workers);
  const isRemote = config.expertWorkers > 0;
  const weightsBytes = (parameters.total - (isRemote ? parameters.experts : 0)) * FP32_BYTES;
  const idle = parameters.total - parameters.active;
  return {
    parameters,
    tokensPerStep,
    tokensTotal: tokensPerStep * steps,
    sequencesTotal: schedule.countsBefore(globalBatchSize * steps),
    sequencesPerStep: mapSources(data.weights, (weight) => (globalBatchSize * weight) / totalWeight),
    sequencesPerRank,
    microbatchesPerRank: Math.ceil(sequencesPerRank / microbatchSize),
    mostImagesPerMicrobatch: microbatchSize * data.imagesPerSequence,
    experts: estimateExperts(config, parameters.experts),
    weightsBytes,
    gradientsBytes: weightsBytes,
    optimizerBytes: 2 * weightsBytes,
    residentBytes: 4 * weightsBytes,
    blockInputBytes: blockInputBytes(config),
    checkpointBytes: 3 * parameters.total * FP32_BYTES,
    ringBytesPerStep: workers === 1 ? 0 : Math.round((2 * (workers - 1) * weightsBytes) / workers),
    decoderFlops: 6 * (parameters.decoderNonEmbedding - idle) * tokensPerStep * steps,
  };
}

function blockInputBytes({ microbatchSize, data, model: { sequenceLength, vision, decoder } }: RunConfig): number {
  const patches = data.imagesPerSequence * (vision.imageSize / vision.patchSize) ** 2;
  const perSequence = sequenceLength * decoder.width * decoder.depth + patches * vision.width * vision.depth;
  return FP32_BYTES * microbatchSize * perSequence;
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
  /** Of that one: weights, gradients and the two moments of AdamW, fp32. */
  readonly residentBytes: number;
  /** Rows that all ranks together send to experts in a step when nothing is dropped: two a token and MoE layer. */
  readonly rowsPerStep: number;
  /** Those rows to the experts and back, in the forward and the backward pass. */
  readonly bytesPerStep: number;
}

const BYTES = { fp32: 4, bf16: 2 } as const;
/** Weights, gradients and two moments. */
const RESIDENT_COPIES = 4;
/** Every token goes to two experts. */
const TOP_K = 2;
/** To the experts and back, in the forward and the backward pass. */
const TRANSFERS = 4;

/** @param parameters those of all experts of all layers */
function estimateExperts(config: RunConfig, parameters: number): ExpertEstimates | null {
  const { model, microbatchSize, globalBatchSize, expertWorkers } = config;
  const { decoder, sequenceLength } = model;
  if (decoder.moe === null) return null;
  const { experts, exchangePrecision } = decoder.moe;
  const layers = moeLayerIndices(decoder).length;
  const own = { layers, perLayer: experts, slotsPerMicrobatch: experts * moeShape(model, microbatchSize).slots };
  if (expertWorkers === 0) return { ...own, hosts: null };
  const mostExperts = Math.ceil(experts / expertWorkers);
  const rowsPerStep = TOP_K * globalBatchSize * sequenceLength * layers;
  const hosts = {
    mostExperts,
    residentBytes: RESIDENT_COPIES * BYTES.fp32 * parameters * (mostExperts / experts),
    rowsPerStep,
    bytesPerStep: TRANSFERS * rowsPerStep * decoder.width * BYTES[exchangePrecision],
  };
  return { ...own, hosts };
}
