export { main } from './main.js';
export { Worker, type WorkerOptions } from './worker.js';
