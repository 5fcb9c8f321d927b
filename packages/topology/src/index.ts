export { assignShards, placeExperts } from './placement.js';
export { type Range, rankSlice, ringChunks, ringNeighbours, stepSequences } from './slices.js';
