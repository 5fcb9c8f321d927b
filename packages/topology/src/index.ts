export { assignShards } from './assign-shards.js';
export { placeExperts } from './place-experts.js';
export type { Range } from './range.js';
export { type RingNeighbours, ringChunks, ringNeighbours } from './ring.js';
export { rankSlice, stepSequences } from './slices.js';
