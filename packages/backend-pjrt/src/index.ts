export { createPjrtExecutor } from './executor/create-executor.js';
export type { CompileProgress } from './executor/pjrt-executor.js';
export { describeDevices } from './native/client.js';
export { acceleratorPlugin, findPlugin, installPlugin } from './setup/plugin.js';
