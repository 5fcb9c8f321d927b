import { resultsOf, type ValueId, withOps } from '../recording.js';
import type { Pass } from './edit.js';

/** Ops that no result needs are gone. Placeholders of declared inputs stay, so that they can be fed. */
export const dropDeadOps: Pass = (recording) => {
  const needed = new Set<ValueId>([...resultsOf(recording), ...Object.values(recording.inputs)]);
  const kept = recording.ops.toReversed().filter((op) => {
    if (!op.outputs.some((output) => needed.has(output))) return false;
    for (const input of [...op.inputs, ...(op.after ?? [])]) needed.add(input);
    return true;
  });
  return withOps(recording, kept.reverse(), recording.values);
};
