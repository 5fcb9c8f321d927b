import { tf } from '@weft/engine';

/** Carries tensors out of a function under tfjs's tape, which returns only the value that it differentiates. */
export class Beside {
  readonly #kept = new Map<string, tf.Tensor>();

  keep(name: string, tensor: tf.Tensor): void {
    this.#kept.set(name, tf.keep(tf.clone(tensor)));
  }

  /** What was kept, by name, as tensors of the caller's own scope; to be called once. */
  take(): Record<string, tf.Tensor> {
    const taken = [...this.#kept].map(([name, tensor]) => {
      const own = tf.clone(tensor);
      tensor.dispose();
      return [name, own] as const;
    });
    this.#kept.clear();
    return Object.fromEntries(taken);
  }
}
