import type { PerSource } from '@weft/common';

/**
 * A rank's report that its reduced gradients for a step are ready. Every number is global, from after the all-reduce, so the
 * votes of all ranks are equal except for the digest and the times.
 */
export interface StepVote {
  readonly step: number;
  /** Mean over the text tokens of the global batch, nats. */
  readonly loss: number;
  /** L2 norm of the mean gradient, before clipping. */
  readonly gradNorm: number;
  /** By source: the mean over its text tokens; a source without any is left out. Absent: the task has none. */
  readonly sourceLoss?: PerSource<number>;
  /** Whether all gradients are finite. If not, the step is counted but not applied. */
  readonly finite: boolean;
  /** SHA-256 over the identities of the sequences this rank consumed, hexadecimal. */
  readonly sequenceDigest: string;
  /** The text tokens over which the loss is a mean. */
  readonly lossTokens: number;
  /**
   * Of this rank alone: seconds from the end of its backward pass to the end of the all-reduce. The all-reduce ends on all
   * ranks at once, so the rank that came last has the least of them.
   */
  readonly communicationSeconds?: number;
  /** Of this rank alone, in this step: seconds until its batch was there. */
  readonly dataSeconds?: number;
  /** Of this rank alone, in this step: seconds of computing until the vote. */
  readonly computeSeconds?: number;
  /** Of this rank alone: seconds that the update of the step before took. */
  readonly applySecondsBefore?: number;
}
