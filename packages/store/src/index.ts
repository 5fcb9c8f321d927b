export type { EventLog } from './event-log.js';
export { FileEventLog } from './file-event-log.js';
export type { Destination, Job, JobQueue, JobState, NewJob } from './job-queue.js';
export type { AcquiredLease } from './lease.js';
export { readLogFile, readLogFileFrom } from './log-file.js';
export { openStore } from './open-store.js';
export type { Store, StoreHealth, StoreOptions } from './store.js';
