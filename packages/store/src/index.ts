export type { EventLog, LogEntry, LogReader } from './event-log.js';
export { FileEventLog } from './file-event-log.js';
export type { Destination, Job, JobKind, JobQueue, JobState, NewJob } from './job-queue.js';
export type { AcquiredLease, AcquireOptions, Lease } from './lease.js';
export { readLogFile, readLogFileFrom } from './log-file.js';
export { openStore } from './open-store.js';
export type { Store, StoreHealth, StoreOptions } from './store.js';
