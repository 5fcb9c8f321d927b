import { hash32 } from '@weft/common';

/**
 * What stands for the weights: a number that depends on every step applied so far, in order, and on nothing else. Two workers hold the
 * same model if they took the same steps, and every step of a run has the loss that it has in an undisturbed one.
 */
export class SimulatedModel {
  /** Before the first step. */
  static readonly seed = new SimulatedModel(0, 1);

  readonly step: number;
  readonly #weights: number;
  /** As it is measured in the step after this one, 0 to 1. */
  readonly loss: number;
  /** Thousands of workers take the same step. */
  #applied: SimulatedModel | undefined;
  #skipped: SimulatedModel | undefined;

  private constructor(step: number, weights: number) {
    this.step = step;
    this.#weights = weights;
    this.loss = hash32(`loss ${weights}`) / 2 ** 32;
  }

  /** The model after the next optimizer step, which does not depend on the number of ranks. */
  next(apply: boolean): SimulatedModel {
    const step = this.step + 1;
    if (apply) this.#applied ??= new SimulatedModel(step, hash32(`${this.#weights}/${step}`));
    else this.#skipped ??= new SimulatedModel(step, this.#weights);
    return apply ? this.#applied! : this.#skipped!;
  }
}

/** Every seventh step has gradients that are not finite. */
export function hasFiniteGradients(step: number): boolean {
  return step % 7 !== 0;
}
