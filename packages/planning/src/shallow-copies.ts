import type { Mesh } from '@weft/backend-pjrt';
import { isEncoderTask, type RunConfig } from '@weft/config';
import { deviceMemory } from './formulas.js';

/** A run of fewer layers, and what its compiled phase `gradients` takes beside weights and gradients. */
export interface CompiledCopy {
  readonly config: RunConfig;
  /** Bytes of one device. */
  readonly temporaries: number;
}

/** Decoder layers of the two copies, where a model's MoE layers do not need more. */
const DEPTHS = [6, 16] as const;
/** Encoder layers of both. */
const ENCODER_DEPTH = 2;

/** Two copies of a run with few layers, which differ in the decoder alone; undefined for a model that is not deeper than that, and for one without a decoder. */
export function shallowCopies(config: RunConfig): readonly [RunConfig, RunConfig] | undefined {
  if (isEncoderTask(config.task)) return undefined;
  const { decoder } = config.model;
  const period = decoder.moe?.everyLayers ?? 1;
  const [first, second] = DEPTHS.map((depth) => Math.ceil(depth / period) * period);
  if (first === undefined || second === undefined || decoder.depth <= second) return undefined;
  return [cutTo(config, first), cutTo(config, second)];
}

function cutTo(config: RunConfig, depth: number): RunConfig {
  const { model } = config;
  const { vision, decoder } = model;
  const encoderDepth = Math.min(vision.depth, ENCODER_DEPTH);
  // Layers behind the one that is read stay as many.
  const behind = vision.depth - (vision.featureLayer ?? vision.depth);
  const featureLayer = vision.featureLayer === null ? null : Math.max(1, encoderDepth - behind);
  return {
    ...config,
    model: { ...model, vision: { ...vision, depth: encoderDepth, featureLayer }, decoder: { ...decoder, depth } },
  };
}

/**
 * The temporaries of a run at its full depth, from two copies: what the compiler took more than the formula grows by the same
 * amount with every decoder layer. The formula knows what the encoder's layers add, and which part of the step takes most
 * at which depth.
 */
export function extendToFullDepth(
  config: RunConfig,
  mesh: Mesh,
  copies: readonly [CompiledCopy, CompiledCopy],
): number {
  const formula = (each: RunConfig) => deviceMemory(each, mesh).activations;
  const [first, second] = copies.map((copy) => ({
    layers: copy.config.model.decoder.depth,
    beyond: copy.temporaries - formula(copy.config),
  })) as [{ layers: number; beyond: number }, { layers: number; beyond: number }];
  const slope = (second.beyond - first.beyond) / (second.layers - first.layers);
  return formula(config) + second.beyond + slope * (config.model.decoder.depth - second.layers);
}

/** Layers that are compiled: of the decoder, and of the encoder up to the one that is read. */
export function layersOf({ model: { vision, decoder } }: RunConfig): number {
  return decoder.depth + (vision.featureLayer ?? vision.depth);
}
