export { type AdamScalars, type AdamTensors, adamUpdate } from './adam-update.js';
export { createExecutor, type EngineKind, type ExecutorOptions } from './create-executor.js';
export { sparseSoftmaxCrossEntropy } from './cross-entropy.js';
export type { Executor, Fed, HostArray, HostTensor, PhaseRun } from './executor.js';
export type { OpTiming } from './native/step-stats.js';
export { describeNativeLibrary, hasNativeLibrary, nativeLibraryDirectory } from './native-library.js';
export { elementCount, type Phase, type PhaseContext, type Program, type TensorSpec } from './program.js';
export type { Precision } from './rewrite/rewrite.js';
export { tf } from './tf.js';
