export { createExecutor, type EngineKind, type ExecutorOptions } from './create-executor.js';
export type { OpTiming } from './native/run-trace.js';
export { describeNativeLibrary, hasNativeLibrary } from './native-library.js';
