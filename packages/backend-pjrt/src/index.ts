export { createPjrtExecutor } from './executor/create-executor.js';
export type { AutomaticMesh, CompileProgress } from './executor/pjrt-executor.js';
export type { Mesh } from './mesh/mesh.js';
export { describeDevices } from './native/client.js';
export { acceleratorPlugin, findPlugin, installPlugin } from './setup/plugin.js';
