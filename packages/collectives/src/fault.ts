import { type ErrorCode, WeftError } from '@weft/common';
import { encodeFrame, type FrameBody, readFrame } from './frame.js';
import type { Wire } from './link.js';

/**
 * Why a ring is broken, and from which pass on. Passes before `fromPass` may still end well: what they need was
 * sent before the failure.
 */
export interface Fault {
  readonly fromPass: number;
  readonly error: WeftError;
}

const TRAVELLING_CODES: readonly ErrorCode[] = ['unavailable', 'invalid_argument', 'corrupt_data', 'internal'];
const MAX_MESSAGE_LENGTH = 1000;

/** Carries news of faults to and from one neighbour. */
export class Courier {
  readonly closed: Promise<Error | undefined>;
  readonly #wire: Wire;

  constructor(wire: Wire, onFault: (fault: Fault) => void) {
    this.#wire = wire;
    this.closed = wire.closed;
    void this.#listen(onFault);
  }

  tell(fault: Fault): void {
    const { code, message, cure } = fault.error;
    this.#wire.write(
      encodeFrame({
        fromPass: fault.fromPass,
        code,
        message: message.slice(0, MAX_MESSAGE_LENGTH),
        ...(cure === undefined ? {} : { cure: cure.slice(0, MAX_MESSAGE_LENGTH) }),
      }),
      () => {},
    );
  }

  end(): void {
    this.#wire.end();
  }

  destroy(): void {
    this.#wire.destroy();
  }

  async #listen(onFault: (fault: Fault) => void): Promise<void> {
    try {
      for (;;) onFault(faultFrom(await readFrame(this.#wire)));
    } catch {
      // Closed, or nonsense: either way this neighbour tells nothing more.
      this.#wire.end();
    }
  }
}

function faultFrom(body: FrameBody): Fault {
  const { fromPass, code, message, cure } = body;
  if (typeof fromPass !== 'number' || !Number.isSafeInteger(fromPass) || typeof message !== 'string')
    throw new WeftError('corrupt_data', 'a notice of the ring lacks its pass or message');
  const known = TRAVELLING_CODES.find((candidate) => candidate === code) ?? 'unavailable';
  return { fromPass, error: new WeftError(known, message, typeof cure === 'string' ? { cure } : {}) };
}
