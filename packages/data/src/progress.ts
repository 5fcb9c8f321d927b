/** How far a long task has come. Reported often; showing it at a readable pace is the caller's business. */
export interface DataProgress {
  readonly phase: 'download' | 'build' | 'index' | 'verify';
  /** What is being worked on: a package, a shard. */
  readonly what: string;
  readonly done: number;
  readonly total: number;
  /** What `done` and `total` count. */
  readonly unit: 'packages' | 'shards' | 'bytes';
}

export type OnProgress = (progress: DataProgress) => void;
