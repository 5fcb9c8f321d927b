import type { RunConfig } from '@weft/config';
import type { Shortage } from '@weft/contracts';
import type { ClusterEvent, ShortageOf } from '@weft/coordination';
import type { memoryShortage } from '@weft/planning';

/**
 * Whether workers have the memory for a run, by the formulas of the plan. They know the model, which a coordinator needs for
 * nothing else, so they are loaded with the first run.
 */
export class MemoryCheck {
  #formula: typeof memoryShortage | undefined;
  /** The same question is asked in every tick. */
  readonly #answers = new WeakMap<RunConfig, Map<string, Shortage | undefined>>();

  /** Call before `decide`. */
  async prepareFor(event: ClusterEvent): Promise<void> {
    const bringsRuns = event.kind === 'recovered' ? event.queue.jobs.length > 0 : /^(launch|resume)$/.test(event.kind);
    if (bringsRuns) this.#formula ??= (await import('@weft/planning')).memoryShortage;
  }

  readonly shortageOf: ShortageOf = (config, { role, memory }) => {
    const formula = this.#formula;
    if (formula === undefined || memory === undefined) return undefined;
    const answers = this.#answers.get(config) ?? new Map<string, Shortage | undefined>();
    this.#answers.set(config, answers);
    const key = `${role} ${memory.hostBytes} ${memory.devices} ${memory.deviceBytes}`;
    if (!answers.has(key)) answers.set(key, formula(config, role, memory));
    return answers.get(key);
  };
}
