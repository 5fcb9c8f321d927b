export { type Chip, chipNames, readChip } from './ahead/chips.js';
export type { Collectives } from './ahead/collectives.js';
export { type AheadPhase, compileAhead } from './ahead/compile-ahead.js';
export { createPjrtExecutor } from './executor/create-executor.js';
export type { CompileProgress } from './executor/pjrt-executor.js';
export { describeDevices } from './native/client.js';
export { COMPILER_DOWNLOAD_BYTES, findCompiler, installCompiler } from './setup/compiler.js';
export { acceleratorPlugin, findPlugin, installPlugin } from './setup/plugin.js';
