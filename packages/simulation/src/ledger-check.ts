import type { RunRecord } from '@weft/coordination';
import type { LedgerEntry } from '@weft/mixture';
import { hasFiniteGradients, SimulatedModel } from './simulated-model.js';
import { Violation } from './violation.js';

interface CommittedStep {
  readonly step: number;
  readonly endSequence: number;
  readonly ranges: LedgerEntry['ranges'];
  /** The model after it, in an undisturbed run. */
  readonly model: SimulatedModel;
}

/**
 * Checks, record by record, that the steps of a log consume every sequence once, in order, and have the losses of an undisturbed
 * run. It knows nothing of how the ledger is folded elsewhere.
 */
export class LedgerCheck {
  readonly #runId: string;
  readonly #steps: CommittedStep[] = [];
  /** Steps that were committed and later rolled back. */
  stepsLost = 0;

  constructor(runId: string) {
    this.#runId = runId;
  }

  get step(): number {
    return this.#steps.length;
  }

  /** @throws Violation */
  add(record: RunRecord): void {
    if (record.kind === 'committed') this.#commit(record.entry);
    if (record.kind === 'resumed') this.#goBack(record.fromStep);
    if (record.kind === 'rolledBack') this.#goBack(record.toStep);
  }

  #commit({ step, firstSequence, endSequence, ranges, loss, applied }: LedgerEntry): void {
    const before = this.#steps.at(-1);
    const of = `step ${step} of run ${this.#runId}`;
    if (step !== this.#steps.length + 1) throw new Violation('sequences', `${of} follows step ${this.#steps.length}`);
    if (firstSequence !== (before?.endSequence ?? 0))
      throw new Violation('sequences', `${of} begins at sequence ${firstSequence}, after ${before?.endSequence ?? 0}`);
    let count = 0;
    for (const [source, { first, end }] of Object.entries(ranges)) {
      const last = before === undefined ? 0 : (before.ranges[source]?.end ?? 0);
      if (first !== last) throw new Violation('sequences', `${of} begins ${source} at ${first}, after ${last}`);
      count += end - first;
    }
    if (count !== endSequence - firstSequence)
      throw new Violation('sequences', `${of} has ${endSequence - firstSequence} sequences, its sources ${count}`);
    const model = before?.model ?? SimulatedModel.seed;
    const apply = hasFiniteGradients(step);
    if (loss !== model.loss || applied !== apply)
      throw new Violation(
        'model',
        `${of} has loss ${loss}${applied ? '' : ' and is not applied'}, where ${model.loss}${apply ? '' : ', not applied,'} is right`,
      );
    this.#steps.push({ step, endSequence, ranges, model: model.next(apply) });
  }

  #goBack(step: number): void {
    this.stepsLost += Math.max(0, this.#steps.length - step);
    this.#steps.length = Math.min(this.#steps.length, step);
  }
}
