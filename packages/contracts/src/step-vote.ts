/**
 * A rank's report that its reduced gradients for a step are ready. Every number is global, from after the all-reduce, so the
 * votes of all ranks are equal except for the digest.
 */
export interface StepVote {
  readonly step: number;
  /** Mean over the text tokens of the global batch, nats. */
  readonly loss: number;
  /** L2 norm of the mean gradient, before clipping. */
  readonly gradNorm: number;
  /** Whether all gradients are finite. If not, the step is counted but not applied. */
  readonly finite: boolean;
  /** SHA-256 over the identities of the sequences this rank consumed, hexadecimal. */
  readonly sequenceDigest: string;
  /** The text tokens over which the loss is a mean. */
  readonly lossTokens: number;
}
