import type { OpTiming } from '@weft/backend-tensorflow';
import type { OpProfile } from './candidate-spec.js';

/** Sums traced ops by phase and type. */
export class Profile {
  readonly #sums = new Map<string, { phase: string; type: string; milliseconds: number; count: number }>();
  #steps = 0;

  add(phase: string, ops: readonly OpTiming[]): void {
    for (const { type, milliseconds } of ops) {
      const key = `${phase}/${type}`;
      const sum = this.#sums.get(key) ?? { phase, type, milliseconds: 0, count: 0 };
      sum.milliseconds += milliseconds;
      sum.count += 1;
      this.#sums.set(key, sum);
    }
  }

  /** Call at the end of each step; everything before the first call of `reset` is warm-up. */
  endStep(): void {
    this.#steps += 1;
  }

  reset(): void {
    this.#sums.clear();
    this.#steps = 0;
  }

  /** Per step, the most expensive first. */
  perStep(): readonly OpProfile[] {
    const steps = Math.max(1, this.#steps);
    return [...this.#sums.values()]
      .map((sum) => ({ ...sum, milliseconds: sum.milliseconds / steps, count: sum.count / steps }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }
}
