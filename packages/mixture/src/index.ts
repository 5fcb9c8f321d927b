export { type DatasetSequence, datasetSequence, indexInSourceOf } from './dataset-sequence.js';
export { heldOutSequence, isHeldOut } from './held-out.js';
export { Ledger, type LedgerRecord } from './ledger.js';
export { type LedgerEntry, ledgerEntry, type StepFacts, stepRanges } from './ledger-entry.js';
export { MixtureSchedule, type SequenceAddress } from './mixture-schedule.js';
export { permute, unpermute } from './permute.js';
export { combineDigests, digestOf, EMPTY_DIGEST } from './sequence-digest.js';
