import { assertNever } from '@weft/common';
import {
  EagerExecutor,
  type EagerHost,
  type Executor,
  javascriptExecutor,
  KernelBackend,
  type Precision,
  type Program,
  type Recompute,
  type ShapeInference,
} from '@weft/tensor';
import { EagerBinding } from './eager-binding.js';
import { GraphShapeInference } from './graph/graph-shape-inference.js';
import { GraphExecutor, type GraphOptions } from './graph-executor.js';
import { loadCApi } from './native/c-api.js';
import type { OpTiming } from './native/run-trace.js';
import { nativeLibraryDirectory } from './native-library.js';

/**
 * Which engine runs a program: `graph` compiles it for TensorFlow, `eager` runs it op by op over TensorFlow,
 * `javascript` op by op in pure JavaScript.
 */
export type EngineKind = 'graph' | 'eager' | 'javascript';

/** How a program is run. */
export interface ExecutorOptions {
  readonly kind: EngineKind;
  /** Arithmetic of matrix products; the eager engines always compute in fp32. */
  readonly precision: Precision;
  /** Threads inside one op; 0 lets TensorFlow choose. */
  readonly threads: number;
  /** What the compiled graph computes twice instead of keeping it; the eager engines keep everything. Default: none. */
  readonly recompute?: Recompute;
  /** Called with how long every op of a phase took, after each run of the compiled graph. Slows runs down; default: none. */
  readonly onTrace?: (phase: string, ops: readonly OpTiming[]) => void;
  /**
   * The folder that keeps the fastest form of each product on this processor (`productFormsDirectory`), of the compiled graph.
   * What it lacks is timed. Default: every product has its usual form, and nothing is timed.
   */
  readonly productForms?: string | undefined;
  /** Told of every phase that was compiled; the eager engines compile none. Default: nothing. */
  readonly onCompile?: GraphOptions['onCompile'];
}

/**
 * Prepares a program for running. Phases compile when they are first run.
 * @throws WeftError `native_library` when TensorFlow is asked for and cannot be loaded.
 */
export function createExecutor(program: Program, options: ExecutorOptions): Executor {
  switch (options.kind) {
    case 'graph':
      return new GraphExecutor(loadCApi(nativeLibraryDirectory()), program, { recompute: 'none', ...options });
    case 'eager':
      return new EagerExecutor(nativeHost(options.threads), program);
    case 'javascript':
      return javascriptExecutor(program);
    default:
      return assertNever(options.kind);
  }
}

/**
 * TensorFlow's own shape functions, for recording a program without running it. The caller disposes it.
 * @throws WeftError `native_library` when TensorFlow cannot be loaded.
 */
export function tensorflowShapes(): ShapeInference {
  return new GraphShapeInference(loadCApi(nativeLibraryDirectory()));
}

function nativeHost(threads: number): EagerHost {
  const api = loadCApi(nativeLibraryDirectory());
  const binding = new EagerBinding(api, threads);
  const backend = new KernelBackend(binding, { isRecording: false });
  return {
    description: `TensorFlow ${api.TF_Version()} eager, fp32`,
    run: (body) => backend.run(body),
    dispose: () => binding.dispose(),
  };
}
