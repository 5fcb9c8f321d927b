export { datasetSequence, indexInSourceOf } from './dataset-sequence.js';
export { heldOutSequence, isHeldOut } from './held-out.js';
export { Ledger, type LedgerRecord } from './ledger.js';
export { type LedgerEntry, ledgerEntry, stepRanges } from './ledger-entry.js';
export { MixtureSchedule } from './mixture-schedule.js';
export { permute, unpermute } from './permute.js';
export { combineDigests, digestOf, EMPTY_DIGEST } from './sequence-digest.js';
