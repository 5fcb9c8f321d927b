export type { ShuffleBlocks } from './block-order.js';
export { heldOutBase, heldOutSequence, isHeldOut } from './held-out.js';
export { Ledger, type LedgerRecord } from './ledger.js';
export {
  consumedBy,
  type LedgerEntry,
  ledgerEntry,
  type SkippedData,
  sharesBy,
  skippedData,
  stepRanges,
  stretchOfStep,
} from './ledger-entry.js';
export { MixtureSchedule, scheduleOf } from './mixture-schedule.js';
export { permute, unpermute } from './permute.js';
export { type IndexVersion, RunSequences } from './run-sequences.js';
export { combineDigests, digestOf, EMPTY_DIGEST } from './sequence-digest.js';
export { type DatasetSequence, SourceOrder } from './source-order.js';
