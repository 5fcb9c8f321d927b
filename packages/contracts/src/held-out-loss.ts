import { type PerSource, perSource } from '@weft/common';
import type { HeldOutLoss as HeldOutLossMessage } from '@weft/proto';

/** The loss on sequences that are never trained on. Every number is global, the same on all ranks. */
export interface HeldOutLoss {
  /** The mean of the sources' losses, weighted by the mixture; nats per text token. */
  readonly loss: number;
  /** Mean over the text tokens of each source; null for a source that takes no part. */
  readonly sources: PerSource<number | null>;
  readonly seconds: number;
}

/** A held-out loss as its message. */
export function heldOutLossToProto({ loss, sources, seconds }: HeldOutLoss): HeldOutLossMessage {
  const { captioned, interleaved, text } = perSource((source) => sources[source] ?? undefined);
  return { loss, captioned, interleaved, text, seconds };
}

/** The held-out loss in a message. */
export function heldOutLossFromProto({ loss, seconds, ...sources }: HeldOutLossMessage): HeldOutLoss {
  return { loss, sources: perSource((source) => sources[source] ?? null), seconds };
}
