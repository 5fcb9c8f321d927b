export * from './generated/weft/v1/membership.js';
export * from './generated/weft/v1/profile.js';
export * from './generated/weft/v1/queue.js';
export * from './generated/weft/v1/runs.js';
export * from './generated/weft/v1/sweeps.js';
export * from './generated/weft/v1/workers.js';
