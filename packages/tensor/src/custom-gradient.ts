import { tf } from './tf.js';

/**
 * An op with a gradient written by hand, where tfjs's own would be slow, or would record large constants.
 *
 * @param inputs the tensors that receive a gradient
 * @param forward returns the value, and by name the tensors that `backward` needs again
 * @param backward maps the gradient of the value to one gradient per input, in order
 */
export function customGradient<Value extends tf.Tensor, Saved extends Readonly<Record<string, tf.Tensor>>>(
  inputs: readonly tf.Tensor[],
  forward: () => { readonly value: Value; readonly saved: Saved },
  backward: (dValue: tf.Tensor, saved: Saved) => readonly tf.Tensor[],
): Value {
  const op = tf.customGrad<Value>((...inputsAndSave) => {
    const { value, saved } = forward();
    const save = inputsAndSave.at(-1);
    if (typeof save === 'function') save(Object.values(saved));
    return {
      value,
      // tfjs returns the saved tensors in the order in which they were given, without their names.
      gradFunc: (dValue: tf.Tensor, tensors: tf.Tensor[]) => {
        const named = Object.fromEntries(Object.keys(saved).map((name, i) => [name, tensors[i]]));
        return [...backward(dValue, named as Saved)];
      },
    };
  });
  return op(...inputs);
}
