import type { HeldOutReport } from '@weft/proto';
import type { HeldOutLoss } from '@weft/training';

/** The held-out loss as it goes over the wire; absent where a step was not evaluated. */
export function heldOutReport(heldOut: HeldOutLoss | undefined): HeldOutReport | undefined {
  if (heldOut === undefined) return undefined;
  const { loss, sources, seconds } = heldOut;
  const { captioned, interleaved, text } = sources;
  return {
    loss,
    captioned: captioned ?? undefined,
    interleaved: interleaved ?? undefined,
    text: text ?? undefined,
    seconds,
  };
}
