import { WeftError } from '@weft/common';

/** A connection that sends nothing for so long is given up. */
const IDLE_TIMEOUT_MS = 30_000;

/** Ends a request when nothing has come for 30 s, or when the caller's signal says so. */
export class IdleTimer {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #outer: AbortSignal | undefined;
  readonly #onOuter = () => this.#abort.abort(this.#outer?.reason);
  #isIdle = false;

  constructor(signal: AbortSignal | undefined) {
    this.#timer = setTimeout(() => {
      this.#isIdle = true;
      this.#abort.abort();
    }, IDLE_TIMEOUT_MS);
    this.#timer.unref();
    this.#outer = signal;
    signal?.addEventListener('abort', this.#onOuter, { once: true });
    if (signal?.aborted) this.#onOuter();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Something came. */
  touch(): void {
    this.#timer.refresh();
  }

  /** What an error of the request means here. */
  explain(path: string, thrown: unknown): unknown {
    if (this.#isIdle)
      return new WeftError(
        'deadline_exceeded',
        `${path} cannot be read: the server sent nothing for ${IDLE_TIMEOUT_MS / 1000} s`,
      );
    if (this.#outer?.aborted) return new WeftError('cancelled', `reading ${path} was cancelled`);
    return thrown;
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onOuter);
  }
}

/**
 * Exactly `bytes` bytes of an answer. One that goes on is refused without reading it.
 *
 * @throws WeftError `unavailable` when the answer ends early, as one of a broken connection does
 */
export async function readBody(
  chunks: AsyncIterable<Uint8Array>,
  bytes: number,
  path: string,
  timer: IdleTimer,
): Promise<Uint8Array> {
  const content = new Uint8Array(bytes);
  let filled = 0;
  for await (const chunk of chunks) {
    timer.touch();
    if (filled + chunk.length > bytes)
      throw new WeftError(
        'unavailable',
        `${path} cannot be read: the server sends more than the ${bytes} bytes asked for`,
      );
    content.set(chunk, filled);
    filled += chunk.length;
  }
  if (filled < bytes)
    throw new WeftError('unavailable', `${path} cannot be read: the answer ends after ${filled} of ${bytes} bytes`);
  return content;
}
