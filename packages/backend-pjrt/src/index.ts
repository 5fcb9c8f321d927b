export { createPjrtExecutor, type PjrtOptions } from './executor/create-executor.js';
export type { CompileProgress } from './executor/pjrt-executor.js';
export { LoweringShapeInference } from './lowering/shape-inference.js';
export { Client, type ClientOptions, type Device } from './native/client.js';
export { loadPlugin } from './native/plugin.js';
export {
  cudaDirectoryBeside,
  type FoundPlugin,
  findPlugin,
  installPlugin,
  type MissingPlugin,
} from './setup/plugin.js';
