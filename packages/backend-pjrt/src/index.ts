export { Client, type ClientOptions, type Device } from './native/client.js';
export { loadPlugin } from './native/plugin.js';
export {
  cudaDirectoryBeside,
  type FoundPlugin,
  findPlugin,
  installPlugin,
  type MissingPlugin,
} from './setup/plugin.js';
