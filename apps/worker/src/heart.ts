/** Gives signs of life until it is stopped. */
export interface Heart {
  stop(): void;
}

export interface HeartOptions {
  readonly workerId: string;
  readonly intervalMs: number;
  /** Sends a heartbeat on the worker's stream. */
  readonly beat: () => void;
}

export type StartHeart = (options: HeartOptions) => Heart;

/** A heart that lives on the event loop and falters with it. */
export const timerHeart: StartHeart = ({ intervalMs, beat }) => {
  const timer = setInterval(beat, intervalMs);
  return { stop: () => clearInterval(timer) };
};
