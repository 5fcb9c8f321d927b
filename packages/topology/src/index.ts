export {
  type ExpertMove,
  expertMoves,
  expertTargets,
  placeCopies,
} from './expert-moves.js';
export { assignShards, placeExperts } from './placement.js';
export {
  batchOfStep,
  type Range,
  rankSlice,
  ringChunks,
  ringNeighbours,
  stepOfBatch,
  stepSequences,
  withRange,
} from './slices.js';
