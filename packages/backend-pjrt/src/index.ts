export { Client, type ClientOptions, type Device } from './native/client.js';
export { loadPlugin } from './native/plugin.js';
