import type { MoeConfig, Precision } from '@weft/config';
import type { LayerSize } from './layer-case.js';

/** What a measured process is told on its command line, as JSON; ours and the peers in Python get the same. */
export interface LayerSpec {
  readonly size: LayerSize;
  readonly moe: MoeConfig;
  readonly precision: Precision;
  readonly threads: number;
  /** The safetensors file of what the layer reads: its input, its weights, and `direction`, the output's gradient. */
  readonly fixture: string;
  /** For peers that know several ways: `loop`, `batched`, `compiled`. */
  readonly mode: string;
}

// The conversation, one JSON object a line: the process says `LayerReady` after its first step, then answers `Turn`
// with `TurnResult` (bench/src/contestant-spec.ts) until it is told `{ "end": true }`.

/** The results of a layer: its output and the gradients of ⟨output, direction⟩ + auxiliary losses. */
export const RESULTS = ['output', 'input', 'router', 'gate', 'up', 'down'] as const;
export type Result = (typeof RESULTS)[number];

/** A tensor in three numbers: its length as a vector, and its shadows on two waves of different frequencies. */
export interface Fingerprint {
  readonly norm: number;
  readonly shadows: readonly [number, number];
}

export interface LayerReady {
  readonly engine: string;
  readonly results: Readonly<Record<Result, Fingerprint>>;
}
