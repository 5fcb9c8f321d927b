import { WeftError } from '@weft/common';
import {
  ADAM_UPDATE,
  adamInputs,
  inputOf,
  type RecordedOp,
  type Recording,
  resultsOf,
  type ValueId,
} from '@weft/tensor';
import type { OutputPointer, Pointer } from '../native/c-api.js';
import type { GraphWriter } from './graph-writer.js';
import { addAssign, addRead } from './variables.js';

/** A recorded update with the variables that it reads and writes: parameter, first moment, second moment. */
export interface AdamInPlace {
  readonly op: RecordedOp;
  readonly variables: readonly string[];
}

/** @throws WeftError `internal` when an update is not one of variables, and of nothing else. */
export function adamUpdates(recording: Recording): readonly AdamInPlace[] {
  const variableOf = new Map(Object.entries(recording.assignments).map(([variable, value]) => [value, variable]));
  const readOf = new Map(recording.ops.map((op) => [op.outputs[0], op.variable]));
  const consumed = new Set([...recording.ops.flatMap(({ inputs }) => inputs), ...Object.values(recording.outputs)]);
  return recording.ops
    .filter(({ type }) => type === ADAM_UPDATE)
    .map((op) => ({
      op,
      variables: op.outputs.map((output, index) => {
        const variable = variableOf.get(output);
        if (variable === undefined || consumed.has(output))
          throw new WeftError('internal', 'the results of adamUpdate must be assigned to variables, and only that');
        if (readOf.get(inputOf(op, index)) !== variable)
          throw new WeftError('internal', `adamUpdate must start from variable ${variable}, to which it is assigned`);
        return variable;
      }),
    }));
}

/** The values that must be computed: all but the reads that an update makes superfluous. */
export function neededValues(recording: Recording, updates: readonly AdamInPlace[]): ReadonlySet<ValueId> {
  const inPlace = new Set(updates.flatMap(({ op }) => op.outputs));
  return new Set([
    ...recording.ops.flatMap((op) => (op.type === ADAM_UPDATE ? [] : op.inputs)),
    ...updates.flatMap(({ op, variables }) => op.inputs.slice(variables.length)),
    ...resultsOf(recording).filter((value) => !inPlace.has(value)),
  ]);
}

/**
 * TensorFlow's own kernel for an update, with clipping and weight decay before it.
 * @param inputs those of the recorded op, with the handles of variables in place of their values
 * @param after the reads of the variables, which see what was there before
 */
export function addAdam(
  writer: GraphWriter,
  name: string,
  inputs: readonly OutputPointer[],
  after: readonly Pointer[],
): Pointer {
  const T = { kind: 'type', value: 'float32' } as const;
  const { p, m, v, gradient, gradientScale, kept, power1, power2, learningRate, beta1, beta2, epsilon } =
    adamInputs(inputs);
  const scaled = writer.add(`${name}/scaled`, { type: 'Mul', attrs: { T } }, [gradient, gradientScale]);
  const decayed = kept === undefined ? [] : [addDecay(writer, name, p, kept, [...after, scaled])];
  const read = [p, m, v, power1, power2, learningRate, beta1, beta2, epsilon, { operation: scaled, index: 0 }];
  return writer.add(name, { type: 'ResourceApplyAdam', attrs: { T } }, read, [...after, ...decayed]);
}

/** What is left of a parameter, computed once its gradient is there: all at once would take the memory of the model. */
function addDecay(
  writer: GraphWriter,
  name: string,
  parameter: OutputPointer,
  kept: OutputPointer,
  after: readonly Pointer[],
): Pointer {
  const dtype = 'float32';
  const attrs = { T: { kind: 'type', value: dtype } } as const;
  const read = addRead(writer, `${name}/read`, parameter, { dtype, after });
  const left = writer.add(`${name}/kept`, { type: 'Mul', attrs }, [read, kept]);
  return addAssign(writer, `${name}/decay`, parameter, { operation: left, index: 0 }, { dtype });
}
