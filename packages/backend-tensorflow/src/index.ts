export { createExecutor, type EngineKind, type ExecutorOptions, tensorflowShapes } from './create-executor.js';
export type { OpTiming } from './native/run-trace.js';
export { describeNativeLibrary, hasNativeLibrary } from './native-library.js';
