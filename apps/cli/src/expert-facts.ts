import type { RunConfig } from '@weft/config';
import { moeLayerIndices, moeShape } from '@weft/model';

/** What follows from the experts of a configuration. */
export interface ExpertFacts {
  /** MoE layers, and the experts of each. */
  readonly layers: number;
  readonly perLayer: number;
  /** Rows that all experts of a layer have room for in a microbatch. */
  readonly slotsPerMicrobatch: number;
  /** `null` where every worker holds all experts. */
  readonly hosts: ExpertHostFacts | null;
}

/** Experts in processes of their own. */
export interface ExpertHostFacts {
  /** Experts of every layer on the expert worker that has the most of them. */
  readonly mostExperts: number;
  /** Of that one: weights, gradients and the two moments of AdamW, fp32. */
  readonly residentBytes: number;
  /** Rows that all ranks together send to experts in a step when nothing is dropped: two a token and MoE layer. */
  readonly rowsPerStep: number;
  /** Those rows there and back, forwards and backwards. */
  readonly bytesPerStep: number;
}

const BYTES = { fp32: 4, bf16: 2 } as const;
/** Weights, gradients and two moments. */
const RESIDENT_COPIES = 4;
const CHOICES = 2;
/** Forwards there and back, backwards there and back. */
const WAYS = 4;

/** @param parameters those of all experts of all layers */
export function expertFacts(config: RunConfig, parameters: number): ExpertFacts | null {
  const { model, microbatchSize, globalBatchSize, expertWorkers } = config;
  const { decoder, sequenceLength } = model;
  if (decoder.moe === null) return null;
  const { experts, exchangePrecision } = decoder.moe;
  const layers = moeLayerIndices(decoder).length;
  const own = { layers, perLayer: experts, slotsPerMicrobatch: experts * moeShape(model, microbatchSize).slots };
  if (expertWorkers === 0) return { ...own, hosts: null };
  const mostExperts = Math.ceil(experts / expertWorkers);
  const rowsPerStep = CHOICES * globalBatchSize * sequenceLength * layers;
  const hosts = {
    mostExperts,
    residentBytes: RESIDENT_COPIES * BYTES.fp32 * parameters * (mostExperts / experts),
    rowsPerStep,
    bytesPerStep: WAYS * rowsPerStep * decoder.width * BYTES[exchangePrecision],
  };
  return { ...own, hosts };
}
