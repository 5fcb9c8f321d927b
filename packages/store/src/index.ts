export type { EventLog, LogEntry } from './event-log.js';
export { FileEventLog } from './file-event-log.js';
export { ProcessLock } from './process-lock.js';
export { readLogFile } from './scan-log.js';
export { readJsonFile, syncDirectory, writeJsonFile } from './write-json-file.js';
