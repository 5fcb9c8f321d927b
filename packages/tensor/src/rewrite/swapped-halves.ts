import type { ValueId } from '../recording.js';
import { typeAttr } from './attrs.js';
import { editOps, type Pass } from './edit.js';

/** Splitting a tensor in two halves and joining them the other way round is a `Roll`: one copy instead of two. */
export const swappedHalves: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    const [second, first, joinAxis] = op.inputs as readonly [ValueId, ValueId, ValueId];
    const split = editor.producerOf(second);
    const isPair = op.type === 'ConcatV2' && op.inputs.length === 3 && split?.type === 'SplitV';
    if (!isPair || split.outputs.join() !== `${first},${second}`) return editor.keep(op);
    const [x, sizes, splitAxis] = split.inputs as readonly [ValueId, ValueId, ValueId];
    const [half, other] = editor.constantInts(sizes) ?? [];
    const result = op.outputs[0] as ValueId;
    const rank = editor.infoOf(result).shape.length;
    const axisOf = (value: ValueId) => ((editor.constantInts(value)?.[0] ?? Number.NaN) + rank) % rank;
    if (half === undefined || half !== other || axisOf(splitAxis) !== axisOf(joinAxis)) return editor.keep(op);
    const attrs = { T: split.attrs.T ?? typeAttr('float32'), Tshift: typeAttr('int32'), Taxis: typeAttr('int32') };
    const shift = editor.constant(Int32Array.of(half), []);
    editor.replace(result, editor.add('Roll', attrs, [x, shift, splitAxis], editor.infoOf(result)));
  });
