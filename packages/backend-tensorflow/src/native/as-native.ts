import { arrayOf, type HostArray, type HostTensor, type TensorSpec } from '@weft/tensor';
import type { CApi } from './c-api.js';
import { NativeTensor } from './handles.js';

/** The value in TensorFlow's memory: itself where it lies there already, else a copy that `owned` is to free. */
export function asNative(
  api: CApi,
  spec: TensorSpec,
  value: HostTensor | HostArray,
  owned: NativeTensor[],
): NativeTensor {
  if (value instanceof NativeTensor && value.spec.shape.join() === spec.shape.join()) return value;
  const tensor = NativeTensor.allocate(api, spec.dtype, spec.shape);
  owned.push(tensor);
  tensor.data.set(arrayOf(value));
  return tensor;
}
