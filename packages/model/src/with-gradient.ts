import { tf } from '@weft/tensor';

/**
 * An op with a gradient written by hand, where tfjs's own would be slow or wasteful to record.
 * @param inputs the tensors the op is differentiated by
 * @param forward gives the value, and by name what `backward` needs of the way there
 * @param backward given the gradient of the value, gives one gradient per input, in order
 */
export function withGradient<Saved extends Readonly<Record<string, tf.Tensor>>>(
  inputs: readonly tf.Tensor[],
  forward: () => { readonly value: tf.Tensor; readonly saved: Saved },
  backward: (dValue: tf.Tensor, saved: Saved) => readonly tf.Tensor[],
): tf.Tensor {
  const op = tf.customGrad((...inputsAndSave) => {
    const { value, saved } = forward();
    const save = inputsAndSave.at(-1);
    if (typeof save === 'function') save(Object.values(saved));
    return {
      value,
      // tfjs hands the saved tensors back in the order they were given, without their names.
      gradFunc: (dValue, kept) => {
        const named = Object.fromEntries(Object.keys(saved).map((name, i) => [name, kept[i]]));
        return [...backward(dValue, named as Saved)];
      },
    };
  });
  return op(...inputs);
}
