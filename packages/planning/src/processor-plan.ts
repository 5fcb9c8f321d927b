import { LoweringShapeInference, productFlops, temporaryBytes } from '@weft/backend-pjrt';
import {
  byteSize,
  type Precision,
  type Program,
  type Recompute,
  type RecordedOp,
  type Recording,
  recordPhase,
  required,
  rewrite,
} from '@weft/tensor';

// What a training step takes on a processor through TensorFlow, from recordings of its phases: `docs/design/plan.md` has the
// measurements.

/** Beside what a program holds, in bytes: Node, TensorFlow's library, loops that it compiled, and what its allocator keeps. Measured. */
const PROCESS_BYTES = 580 * 2 ** 20;

/** What one phase costs. */
export interface PhaseCost {
  /** The most bytes of computed values that wait for their last use, results among them. */
  readonly temporaryBytes: number;
  /** Floating-point operations of matrix products. */
  readonly flops: number;
  /** What all other ops read and write. */
  readonly movedBytes: number;
}

/** A training step on a processor. */
export interface ProcessorCost {
  /** Weights and what the optimizer keeps. */
  readonly stateBytes: number;
  /** Of one microbatch. */
  readonly gradients: PhaseCost;
  /** Of the rest of a step, together. */
  readonly update: PhaseCost;
}

/** Records the phases of a training program as TensorFlow would run them. Computes nothing and needs nothing native. */
export function processorCost(
  program: Program,
  options: { readonly precision: Precision; readonly recompute: Recompute },
): ProcessorCost {
  const costOf = (phase: string) => {
    const recording = recordPhase(new LoweringShapeInference(), program, phase);
    return phaseCost(rewrite(recording, { ...options, hasLoops: true }));
  };
  const [measure, apply] = [costOf('measure'), costOf('apply')];
  return {
    stateBytes: Object.values(program.state).reduce((sum, { shape, dtype }) => sum + byteSize(dtype, shape), 0),
    gradients: costOf('gradients'),
    update: {
      temporaryBytes: Math.max(measure.temporaryBytes, apply.temporaryBytes),
      flops: measure.flops + apply.flops,
      movedBytes: measure.movedBytes + apply.movedBytes,
    },
  };
}

function phaseCost(recording: Recording): PhaseCost {
  return {
    temporaryBytes: temporaryBytes(recording),
    flops: productFlops(recording),
    movedBytes: recording.ops.reduce((sum, op) => sum + movedBytes(recording, op), 0),
  };
}

/** Ops that touch no element. */
const FREE: ReadonlySet<string> = new Set(['Const', 'Placeholder', 'Reshape', 'Identity', 'ReadVariableOp', 'Shape']);
/** Ops that read no more of their first input than they write. */
const READS_A_PART: ReadonlySet<string> = new Set(['Slice', 'StridedSlice', 'GatherV2', 'BroadcastTo']);

function movedBytes({ values }: Recording, { type, inputs, outputs }: RecordedOp): number {
  if (FREE.has(type) || /^(Batch)?MatMul(V2)?$/.test(type)) return 0;
  const bytesOf = (ids: typeof inputs) =>
    ids.reduce((sum, id) => {
      const { shape, dtype } = required(values, id);
      return sum + byteSize(dtype, shape);
    }, 0);
  const written = bytesOf(outputs);
  return written + (READS_A_PART.has(type) ? written : bytesOf(inputs));
}

/** Bytes of a process at its most. @param isSummed whether a step has several microbatches, whose gradients are summed */
export function processorMemory(
  { stateBytes, gradients, update }: ProcessorCost,
  gradientBytes: number,
  isSummed: boolean,
) {
  const temporaries = Math.max(gradients.temporaryBytes + (isSummed ? gradientBytes : 0), update.temporaryBytes);
  return { process: PROCESS_BYTES, state: stateBytes, temporaries, total: PROCESS_BYTES + stateBytes + temporaries };
}

/** Seconds of a step of one process. Products run at the rate of large ones, and all else at that of memory. */
export function processorStepSeconds(
  { gradients, update }: ProcessorCost,
  { flopsPerSecond, bytesPerSecond }: { readonly flopsPerSecond: number; readonly bytesPerSecond: number },
  microbatches: number,
): number {
  const secondsOf = ({ flops, movedBytes }: PhaseCost) => flops / flopsPerSecond + movedBytes / bytesPerSecond;
  return microbatches * secondsOf(gradients) + secondsOf(update);
}
