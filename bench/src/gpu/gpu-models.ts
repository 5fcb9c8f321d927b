import { recipe } from '@weft/recipes';
import type { Recompute } from '@weft/tensor';
import { type BenchModel, benchModel } from '../models.js';

/** The models that the kit measures. */
export const GPU_CASES = ['decoder-1b', 'mm1-1b', 'mm1-3b'] as const;
export type GpuCase = (typeof GPU_CASES)[number];

/** What of a case may be chosen on the command line. */
export interface GpuCaseOptions {
  /** Shapes for CPUs: the same code on models of a thousandth. */
  readonly isSmall: boolean;
  readonly batchSize: number | undefined;
  readonly recompute: Recompute | undefined;
}

/** Cards with more memory than this take twice as many sequences a step. */
const LARGE_CARD_GIB = 120;

/**
 * - `decoder-1b`: a decoder of 24 layers of width 2048 at 4096 positions, 1.37 B parameters;
 * - `mm1-1b`: the same decoder with MM1's encoder and connector, 12 layers of the decoder and 8 of the encoder;
 * - `mm1-3b`: the recipe, cut to 8 and 8 layers.
 *
 * Nothing is computed twice. Shallow copies compiled for an H200 say that Weft's `decoder-1b` takes 15 GiB of state and some 35
 * of temporaries there, its `mm1-1b` 11 and some 25; peers are given room for twice as much.
 *
 * @param memoryGib of the card
 */
export function gpuModel(name: GpuCase, memoryGib: number, options: GpuCaseOptions): BenchModel {
  const model = options.isSmall ? smallModel(name) : wholeModel(name, memoryGib);
  const { batchSize = model.batchSize, recompute = model.recompute } = options;
  return { ...model, batchSize, recompute };
}

function wholeModel(name: GpuCase, memoryGib: number): BenchModel {
  const { model, data } = recipe('mm1-3b');
  const { sequenceLength, decoder, vision, connector } = model;
  const narrower = { width: 2048, heads: 16, headWidth: 128, keyValueHeads: 16, feedForwardWidth: 5632 };
  const parts = {
    vision: { ...vision, depth: 8 },
    connector,
    imagesPerSequence: data.imagesPerSequence,
    present: null,
  };
  const fold = memoryGib >= LARGE_CARD_GIB ? 2 : 1;
  const shape = (depth: number, isNarrow: boolean) => ({ ...decoder, ...(isNarrow ? narrower : {}), depth });
  const shared = { name, sequenceLength, recompute: 'none' } as const;
  switch (name) {
    case 'decoder-1b':
      return { ...shared, batchSize: 2 * fold, decoder: shape(24, true), images: null };
    case 'mm1-1b':
      return { ...shared, batchSize: fold, decoder: shape(12, true), images: parts };
    case 'mm1-3b':
      return { ...shared, batchSize: fold, decoder: shape(8, false), images: parts };
  }
}

/** The models of the bench for CPUs, smaller still. */
function smallModel(name: GpuCase): BenchModel {
  const small = { batchSize: 2, sequenceLength: 64 };
  if (name === 'decoder-1b') {
    const model = benchModel('decoder-5m');
    return {
      ...model,
      name,
      ...small,
      decoder: { ...model.decoder, width: 64, depth: 2, heads: 2, headWidth: 32, keyValueHeads: 2 },
    };
  }
  const { model, data } = recipe('debugNano');
  const images = { ...model, imagesPerSequence: data.imagesPerSequence, present: null };
  return { name, ...small, decoder: { ...model.decoder, depth: 1 }, images, recompute: 'none' };
}
