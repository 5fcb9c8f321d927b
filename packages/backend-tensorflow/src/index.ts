export { createExecutor, type EngineKind, type ExecutorOptions, tensorflowShapes } from './create-executor.js';
export type { OpTiming } from './native/run-trace.js';
export { describeNativeLibrary, hasNativeLibrary } from './native-library.js';
export { GEMM_SIDE, gemmProgram, measureProcessor, type ProcessorRates, processorRates } from './processor-rates.js';
export { productFormsDirectory } from './products/form-chooser.js';
