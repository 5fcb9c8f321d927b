import { WeftError } from '@weft/common';
import { ADAM_UPDATE } from '../adam-update.js';
import type { OutputPointer, Pointer } from '../native/c-api.js';
import { DataType } from '../native/data-type.js';
import type { GraphWriter } from './graph-writer.js';
import { type RecordedOp, type Recording, resultsOf, type ValueId } from './recording.js';

/** One variable that an update writes into. */
interface Slot {
  readonly variable: string;
  /** What the update starts from. */
  readonly input: ValueId;
  /** Whether that is the variable's own value, so that nothing needs to be put there first. */
  readonly isRead: boolean;
}

/** A recorded update with its variables: parameter, first moment, second moment. */
export interface AdamInPlace {
  readonly op: RecordedOp;
  readonly slots: readonly Slot[];
}

/** @throws WeftError `internal` when a result of an update is not just assigned to a variable. */
export function adamUpdates(recording: Recording): readonly AdamInPlace[] {
  const variableOf = new Map(Object.entries(recording.assignments).map(([variable, value]) => [value, variable]));
  const readOf = new Map(recording.ops.map((op) => [op.outputs[0], op.variable]));
  const consumed = new Set([...recording.ops.flatMap(({ inputs }) => inputs), ...Object.values(recording.outputs)]);
  return recording.ops
    .filter(({ type }) => type === ADAM_UPDATE)
    .map((op) => ({
      op,
      slots: op.outputs.map((output, index) => {
        const variable = variableOf.get(output);
        if (variable === undefined || consumed.has(output)) {
          throw new WeftError('internal', 'the results of adamUpdate must be assigned to variables, and only that');
        }
        const input = op.inputs[index] as ValueId;
        return { variable, input, isRead: readOf.get(input) === variable };
      }),
    }));
}

/** The values that must be computed: all but the reads that an update makes superfluous. */
export function neededValues(recording: Recording, updates: readonly AdamInPlace[]): ReadonlySet<ValueId> {
  const inPlace = new Set(updates.flatMap(({ op }) => op.outputs));
  return new Set([
    ...recording.ops.flatMap((op) => (op.type === ADAM_UPDATE ? [] : op.inputs)),
    ...updates.flatMap(({ op, slots }) => [
      ...op.inputs.slice(slots.length),
      ...slots.filter(({ isRead }) => !isRead).map(({ input }) => input),
    ]),
    ...resultsOf(recording).filter((value) => !inPlace.has(value)),
  ]);
}

export function addAdam(
  writer: GraphWriter,
  name: string,
  inputs: readonly OutputPointer[],
  after: readonly Pointer[],
): Pointer {
  const attrs = { T: { kind: 'type', value: DataType.float32 } } as const;
  return writer.add(name, { type: 'ResourceApplyAdam', attrs }, inputs, after);
}
