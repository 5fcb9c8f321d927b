import { type Pass, type Precision, passes, type Recompute, type Recording } from '@weft/tensor';

/** What a program is rewritten to before it is lowered. */
export interface PjrtRewriting {
  readonly precision: Precision;
  readonly recompute: Recompute;
}

/**
 * The passes that XLA does not do itself. Those that choose among TensorFlow's kernels, and those that fuse, are left out.
 * `scheduleOutputsEarly` only orders the ops, so that a phase can be cut where its outputs are done.
 */
export function rewriteForXla(recording: Recording, { precision, recompute }: PjrtRewriting): Recording {
  const inOrder: readonly Pass[] = [
    passes.dropNoOpCasts,
    passes.mergeEqualOps,
    passes.dropDeadOps,
    ...(precision === 'bf16' ? [passes.bf16Matmuls, passes.bf16Softmax, passes.sinkCasts] : []),
    ...(recompute === 'none' ? [] : [passes.recompute(recompute)]),
    passes.scheduleOutputsEarly,
  ];
  return inOrder.reduce((rewritten, pass) => pass(rewritten), recording);
}
