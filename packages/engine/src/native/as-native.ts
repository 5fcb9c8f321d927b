import { arrayOf } from '../check-inputs.js';
import type { HostArray, HostTensor } from '../executor.js';
import type { TensorSpec } from '../program.js';
import type { CApi } from './c-api.js';
import { DataType } from './data-type.js';
import { NativeTensor } from './handles.js';

/** The value in TensorFlow's memory: itself where it lies there already, else a copy that `owned` is to free. */
export function asNative(
  api: CApi,
  spec: TensorSpec,
  value: HostTensor | HostArray,
  owned: NativeTensor[],
): NativeTensor {
  if (value instanceof NativeTensor && value.spec.shape.join() === spec.shape.join()) return value;
  const tensor = NativeTensor.allocate(api, DataType[spec.dtype], spec.shape);
  owned.push(tensor);
  tensor.data.set(arrayOf(value));
  return tensor;
}
