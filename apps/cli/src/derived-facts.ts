import { type PerSource, perSource, SOURCES } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { MixtureSchedule } from '@weft/mixture';
import { type ExpertFacts, expertFacts } from './expert-facts.js';

/** Numbers of trainable scalars, by part. */
export interface ParameterFacts {
  readonly total: number;
  readonly vision: number;
  readonly connector: number;
  readonly decoder: number;
  /** Without token embedding and output head; all experts included. */
  readonly decoderNonEmbedding: number;
  /** All experts of all MoE layers; 0 for a dense model. */
  readonly experts: number;
  /** What one token meets: of every MoE layer only two experts. Equal to `total` for a dense model. */
  readonly active: number;
}

/** What follows from a configuration. */
export interface DerivedFacts {
  readonly parameters: ParameterFacts;
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
  readonly experts: ExpertFacts | null;
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
  /** The estimate 6·N·D for the decoder, floating-point operations of the whole run; N is what one token meets. */
  readonly decoderFlops: number;
}

const FP32_BYTES = 4;

/** Arithmetic only; `parameters` come from `countParameters` of the model room. */
export function derivedFacts(config: RunConfig, parameters: ParameterFacts): DerivedFacts {
  const { globalBatchSize, microbatchSize, workers, steps, data, model } = config;
  const schedule = new MixtureSchedule(data.weights);
  const weight = SOURCES.reduce((sum, source) => sum + data.weights[source], 0);
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
    sequencesPerStep: perSource((source) => (globalBatchSize * data.weights[source]) / weight),
    sequencesPerRank,
    microbatchesPerRank: Math.ceil(sequencesPerRank / microbatchSize),
    mostImagesPerMicrobatch: microbatchSize * data.imagesPerSequence,
    experts: expertFacts(config, parameters.experts),
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
