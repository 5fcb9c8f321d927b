import { digestOf } from '@weft/mixture';
import type { SimulatedModel } from './simulated-model.js';

/** What the members of a generation share: how far the all-reduce of a step is, and who holds the model. */
export class SimulatedRing {
  isBroken = false;
  /** The model of those that hold it at the beginning, for those that join. By rank. */
  readonly held = new Map<number, SimulatedModel>();
  /** The members that have voted for `step` with all gradients. */
  votes = 0;
  readonly size: number;
  readonly #onComplete: (step: number) => void;
  #step = 0;
  #contributions = 0;
  #reducedStep = 0;
  #digest = '';

  /** @param onComplete every member has contributed; default: with that the step is reduced */
  constructor(size: number, onComplete?: (step: number) => void) {
    this.size = size;
    this.#onComplete = onComplete ?? ((step) => this.reduce(step));
  }

  /** A member's gradients of a step, given once. */
  contribute(step: number): void {
    if (step !== this.#step) {
      this.#step = step;
      this.#contributions = 0;
      this.votes = 0;
      this.#digest = digestOf([`${step}`]);
    }
    if (++this.#contributions === this.size) this.#onComplete(step);
  }

  /** The sums of a step are there. */
  reduce(step: number): void {
    this.#reducedStep = step;
  }

  isReduced(step: number): boolean {
    return this.#reducedStep >= step;
  }

  /** The step that is computed or reduced. */
  get step(): number {
    return this.#step;
  }

  /** Stands for the sequences of the step. */
  get digest(): string {
    return this.#digest;
  }
}
