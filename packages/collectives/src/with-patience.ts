import { WeftError } from '@weft/common';

export interface Patience {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The error when the time is over, made then. */
  readonly late: () => WeftError;
  /** Says what is cancelled when the signal aborts: "joining the ring of run r". */
  readonly doing: string;
}

/** Waits for `work`, but not longer than there is patience. What is under way must be ended by the caller. */
export async function withPatience<T>(work: Promise<T>, { timeoutMs, signal, late, doing }: Patience): Promise<T> {
  let stop: (error: WeftError) => void = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = reject;
  });
  const abort = () => stop(new WeftError('cancelled', `${doing} was cancelled`));
  const timer = setTimeout(() => stop(late()), timeoutMs);
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  try {
    return await Promise.race([work, stopped]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
