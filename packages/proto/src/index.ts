export * from './generated/weft/v1/runs.js';
export * from './generated/weft/v1/workers.js';
