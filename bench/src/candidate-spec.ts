import type { OptimizerConfig, Precision } from '@weft/config';
import type { BenchModel } from './models.js';

/** The argument of a measured process, as JSON; the same for ours and the peers in Python. */
export interface CandidateSpec {
  /** `gemm` measures nothing but large matrix products. */
  readonly work: 'train' | 'gemm';
  /** Where it computes. Ours runs through TensorFlow on `cpu`, through PJRT where `pjrt` is given. */
  readonly device: 'cpu' | 'gpu';
  readonly pjrt?: PjrtSpec;
  readonly model: BenchModel;
  readonly optimizer: OptimizerConfig;
  readonly precision: Precision;
  readonly threads: number;
  readonly rank: number;
  readonly worldSize: number;
  /** Whether the case has several processes; one of them alone then does its part of the work in the same way. */
  readonly isDataParallel: boolean;
  /** The safetensors file of weights and batches. */
  readonly fixture: string;
  /** When the process was started, milliseconds since 1970. */
  readonly startedAtMs: number;
  /** For peers that know several ways: `eager`, `compile`. */
  readonly mode: string;
  /** Time every op (ours only). */
  readonly trace: boolean;
  /** The folder of the forms of products (TensorFlow only); absent: all have their usual one. */
  readonly productForms?: string;
}

/** How ours reaches its device. */
export interface PjrtSpec {
  readonly pluginPath: string;
  readonly clientOptions: Readonly<Record<string, string | number | boolean>>;
  /** Where compiled programs are kept. */
  readonly executables: string;
}

// The messages between the bench and a measured process, one JSON object a line, in this order.

/** From the process, once it runs: where its ring can be joined, if it has one. */
export interface Hello {
  readonly address?: string;
}

/** To the process: the addresses of all ranks. */
export interface Addresses {
  readonly addresses: readonly (string | undefined)[];
}

/** From the process, after its first step. */
export interface Ready {
  /** "TensorFlow 2.21.0 graph, fp32, 1 threads" */
  readonly engine: string;
  readonly firstLoss: number;
  readonly secondsToFirstStep: number;
  /** Compiling alone, where the candidate can tell it. */
  readonly compileSeconds?: number;
}

/** To the process: run that many steps. */
export interface Round {
  readonly steps: number;
}

/** From the process after each round. */
export interface RoundResult {
  readonly stepSeconds: readonly number[];
  readonly losses: readonly number[];
  /** Processor seconds of all threads during the round. */
  readonly cpuSeconds: number;
}

/** From the process when it receives `{ "end": true }`; then it exits. */
export interface FinalReport {
  readonly peakBytes: number;
  /** Of the device, as the framework's allocator counts it. */
  readonly peakDeviceBytes?: number;
  readonly profile?: readonly OpProfile[];
}

/** All ops of one type in one phase, per step. */
export interface OpProfile {
  readonly phase: string;
  readonly type: string;
  readonly milliseconds: number;
  readonly count: number;
}
