/** Progress of a long task. Reported often: the receiver limits the rate at which it is shown. */
export interface DataProgress {
  readonly phase: 'download' | 'build' | 'index' | 'verify';
  /** The package or shard being processed. */
  readonly what: string;
  readonly done: number;
  readonly total: number;
  /** Unit of `done` and `total`. */
  readonly unit: 'packages' | 'shards' | 'bytes';
  /** Where that is known: how much of the work is done, by bytes. */
  readonly bytes?: { readonly done: number; readonly total: number };
}

/** Receives progress reports. */
export type OnProgress = (progress: DataProgress) => void;
