export type { EventLog, LogMark, LogReader } from './event-log.js';
export { FileEventLog } from './file-event-log.js';
export { FileStore } from './file-store.js';
export type { Destination, Job, JobQueue, JobState, NewJob } from './job-queue.js';
export type { AcquiredLease } from './lease.js';
export { readLogFile } from './log-file.js';
export { openStore } from './open-store.js';
export type { Store, StoreHealth, StoreOptions } from './store.js';
