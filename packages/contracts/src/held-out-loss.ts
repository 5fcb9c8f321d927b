import type { PerSource } from '@weft/common';
import type { HeldOutLoss as HeldOutLossMessage } from '@weft/proto';

/** The loss on sequences that are never trained on. Every number is global, the same on all ranks. */
export interface HeldOutLoss {
  /** The mean of the sources' losses, weighted by the mixture; nats per text token. */
  readonly loss: number;
  /** Mean over the text tokens of each source, in the order of the mixture; null for a source that takes no part. */
  readonly sources: PerSource<number | null>;
  readonly seconds: number;
}

/** A held-out loss as its message. */
export function heldOutLossToProto({ loss, sources, seconds }: HeldOutLoss): HeldOutLossMessage {
  return {
    loss,
    seconds,
    sources: Object.entries(sources).map(([name, value]) => ({ name, loss: value ?? undefined })),
  };
}

/** The held-out loss in a message. */
export function heldOutLossFromProto({ loss, seconds, sources }: HeldOutLossMessage): HeldOutLoss {
  return { loss, seconds, sources: Object.fromEntries(sources.map((each) => [each.name, each.loss ?? null])) };
}
