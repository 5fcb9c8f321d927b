export type { ShuffleBlocks } from './block-order.js';
export { datasetSequence, indexInSourceOf } from './dataset-sequence.js';
export { heldOutSequence, isHeldOut } from './held-out.js';
export { Ledger, type LedgerRecord } from './ledger.js';
export {
  consumedBy,
  type LedgerEntry,
  ledgerEntry,
  type SkippedData,
  skippedData,
  stepRanges,
} from './ledger-entry.js';
export { MixtureSchedule, scheduleOf } from './mixture-schedule.js';
export { permute, unpermute } from './permute.js';
export { combineDigests, digestOf, EMPTY_DIGEST } from './sequence-digest.js';
