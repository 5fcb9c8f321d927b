import { WeftError } from '@weft/common';
import type { HostTensor, ResidentTensor } from '@weft/tensor';

/** Outputs of a phase, by name. The caller of the phase frees them. */
export type HostTensors = Readonly<Record<string, HostTensor>>;

/** Frees outputs of a phase. */
export function disposeAll(tensors: Readonly<Record<string, HostTensor | ResidentTensor>>): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

/** An output of a phase. @throws WeftError `internal` when there is none of that name. */
export function outputOf(tensors: HostTensors, name: string): HostTensor {
  const tensor = tensors[name];
  if (tensor === undefined) throw new WeftError('internal', `a phase gave no output ${name}`);
  return tensor;
}

/** The values of a float32 output; a view, valid until the tensor is freed. */
export function floatsOf(tensors: HostTensors, name: string): Float32Array {
  return float32Of(outputOf(tensors, name), `output ${name} of a phase`);
}

/** The values of a float32 tensor; a view. @param what for the message */
export function float32Of({ data }: HostTensor, what: string): Float32Array {
  if (!(data instanceof Float32Array)) throw new WeftError('internal', `${what} is not float32`);
  return data;
}

/** The value of a scalar output. */
export function scalarOf(tensors: HostTensors, name: string): number {
  return floatsOf(tensors, name)[0] ?? Number.NaN;
}

/** A number as the float32 scalar that a phase takes. */
export function scalarInput(value: number): Float32Array {
  return Float32Array.of(value);
}
