/** How a run waits for its workers. It changes when a run trains, never what. */
export interface QueueConfig {
  /** Higher starts first, and takes the workers of lower ones at their next checkpoint; from −1000 to 1000. */
  readonly priority: number;
  /** How often the run is tried in all when it fails; after a failure it goes on from its newest checkpoint. */
  readonly maxAttempts: number;
  /** Seconds between the first failure and the second attempt; doubles with each further one. */
  readonly backoffSeconds: number;
  /** It does not start before this moment, ISO 8601 with its offset from UTC; null: as soon as it can. */
  readonly notBefore: string | null;
  /** It does not start before these runs have finished, such as that of the encoder it begins from. */
  readonly after: readonly string[];
}

/** What a run is given that says nothing of the queue, also one that an older version launched. */
export const DEFAULT_QUEUE: QueueConfig = {
  priority: 0,
  maxAttempts: 1,
  backoffSeconds: 30,
  notBefore: null,
  after: [],
};
