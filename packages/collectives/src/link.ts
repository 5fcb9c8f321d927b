/**
 * What a ring is made of: bytes leave at an outlet and arrive, in order, at the inlet at the other end.
 * Over sockets (`socket-wire.ts`), through memory that two processes see (`shared-outlet.ts`, `shared-inlet.ts`) and within a
 * process (`memory-wire.ts`).
 */

/** Takes bytes as they arrive, at the place it names. */
export interface Sink {
  /** Where the next bytes shall land (not empty), or `undefined` while none are wanted. */
  target(): Uint8Array | undefined;
  /** `bytes` bytes have landed at the start of the last target. */
  landed(bytes: number): void;
}

/** Bytes on their way out, and whom to tell when they have left. */
export interface Parcel {
  rest: Uint8Array;
  readonly flushed: () => void;
}

export interface Inlet {
  /** Lands what arrives in `sink` for as long as it names a target; call it again, but not from within `landed`, to go on. */
  pull(sink: Sink): void;
  /** Settles once nothing more can arrive, with the cause where there is one; never rejects. */
  readonly closed: Promise<Error | undefined>;
  /** Closes at once. The last target is not written any more when this returns. */
  destroy(): void;
}

export interface Outlet {
  /** Sends a view without copying it; `flushed` is called when its memory may be used again. */
  write(bytes: Uint8Array, flushed: () => void): void;
  readonly closed: Promise<Error | undefined>;
  /** Closes after what was written has left. */
  end(): void;
  /** Closes at once. No written view is read any more when this returns. */
  destroy(): void;
}

/** Both directions of one connection. */
export interface Wire extends Inlet, Outlet {}

/**
 * The connections of one rank. Tensors flow from `previous` to `next` only; the two control wires carry notices
 * both ways, so that the news of a failure goes round the ring even where the data stands still.
 */
export interface RingLinks {
  readonly data: { readonly previous: Inlet; readonly next: Outlet };
  readonly control: { readonly previous: Wire; readonly next: Wire };
}

/** Lands as much of `bytes` in `sink` as it takes, and returns the rest. */
export function pour(bytes: Uint8Array, sink: Sink): Uint8Array {
  let rest = bytes;
  while (rest.length > 0) {
    const target = sink.target();
    if (target === undefined) break;
    const count = Math.min(target.length, rest.length);
    target.set(count === rest.length ? rest : rest.subarray(0, count));
    rest = rest.subarray(count);
    sink.landed(count);
  }
  return rest;
}
