import type { ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { type Microbatch, SHARED_ROWS, type SharedBatch } from '@weft/tasks';
import type { PhaseInputs } from '@weft/tensor';
import { rankSlice } from '@weft/topology';
import { disposeAll, floatsOf } from './host-tensors.js';
import type { TrainExecutor } from './train-program.js';

/** What the phases of a microbatch are given beside its arrays, by the number of the microbatch. */
export type SharedInputs = (microbatch: number) => PhaseInputs;

/**
 * Computes what the sequences of a step tell each other, see `SharedBatch`: round by round, forwards only, every microbatch
 * of this rank, and then its rows are gathered over all ranks. They lie in the order of the global batch, so that what is
 * computed of them does not depend on the number of ranks and microbatches. All ranks call it at once.
 *
 * @param microbatches this rank's; only the last may end in padding
 * @throws WeftError `unavailable` when the ring breaks
 */
export async function shareValues(
  { executor, group, shared }: { executor: Pick<TrainExecutor, 'run'>; group: ProcessGroup; shared: SharedBatch },
  microbatches: readonly Microbatch[],
): Promise<SharedInputs> {
  const { microbatchSize, rounds, sequences } = shared;
  const own = rankSlice(0, sequences, group.rank, group.worldSize);
  const rowsOf = (microbatch: number) =>
    Int32Array.from({ length: microbatchSize }, (_, row) => {
      const at = own.first + microbatch * microbatchSize + row;
      return at < own.end ? at : -1;
    });
  const known: Record<string, Float32Array> = {};
  const inputs = (microbatch: number) => ({ ...known, [SHARED_ROWS]: rowsOf(microbatch) });
  for (const [round, { name, width, batch }] of rounds.entries()) {
    const values = new Float32Array((own.end - own.first) * width);
    for (const [index, microbatch] of microbatches.entries()) {
      const arrays = Object.fromEntries(Object.keys(batch).map((each) => [each, arrayOf(microbatch, each)]));
      const outputs = await executor.run(`share/${name}`, { ...arrays, ...(round === 0 ? {} : inputs(index)) });
      const start = index * microbatchSize * width;
      values.set(floatsOf(outputs, name).subarray(0, values.length - start), start);
      disposeAll(outputs);
    }
    known[name] = await gathered(values, group, sequences * width);
  }
  return inputs;
}

/** The rows of all ranks, in their order, which is that of the sequences. */
async function gathered(own: Float32Array, group: ProcessGroup, length: number): Promise<Float32Array> {
  if (group.worldSize === 1) return own;
  const parts = await group.allGather(new Uint8Array(own.buffer, own.byteOffset, own.byteLength));
  const all = new Float32Array(length);
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of parts) {
    // A copy, because the bytes of a peer need not lie on a multiple of four.
    all.set(new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)), at);
    at += byteLength / Float32Array.BYTES_PER_ELEMENT;
  }
  if (at !== length) throw new WeftError('internal', `the ranks share ${at} values instead of ${length}`);
  return all;
}

function arrayOf(microbatch: Microbatch, name: string) {
  const array = microbatch[name];
  if (array === undefined) throw new WeftError('internal', `the microbatch has no ${name}`);
  return array;
}
