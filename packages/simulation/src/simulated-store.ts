import { isDeepStrictEqual } from 'node:util';
import { applyRecord, InMemoryQueue, type RunRecord, type RunState } from '@weft/coordination';
import { LedgerCheck } from './ledger-check.js';
import type { SimulatedModel } from './simulated-model.js';
import { Violation } from './violation.js';

/** What a run leaves in the store and on disk. */
export interface StoredRun {
  readonly runId: string;
  /** What its log comes to. The log itself is not kept: of ten thousand workers it would fill the memory. */
  state: RunState;
  readonly ledger: LedgerCheck;
  /** The complete checkpoints, by step. */
  readonly checkpoints: Map<number, SimulatedModel>;
}

/** Thrown at a coordinator that does not hold the lease any more. */
export class LeaseLost extends Error {}

/** Logs and queue that outlive coordinators, and the lease with its fencing token. */
export class SimulatedStore {
  readonly runs = new Map<string, StoredRun>();
  readonly queue = new InMemoryQueue();
  /** Of the holder of the lease; grows with every holder. */
  token = 0;
  /** Whether writes of former holders are refused. Only tests turn it off. */
  isFenced = true;

  /** The lease passes on. */
  acquire(): number {
    return ++this.token;
  }

  /** Whether a coordinator may write. @throws LeaseLost, or Violation if nobody notices */
  check(token: number): void {
    if (token === this.token) return;
    if (this.isFenced) throw new LeaseLost('the lease has passed to another coordinator');
    throw new Violation(
      'leader',
      `the coordinator with token ${token} wrote after the one with token ${this.token} began`,
    );
  }

  append(token: number, runId: string, record: RunRecord): StoredRun {
    this.check(token);
    const known = this.runs.get(runId);
    const state = applyRecord(known?.state, record);
    const run = known ?? { runId, state, ledger: new LedgerCheck(runId), checkpoints: new Map() };
    run.state = state;
    run.ledger.add(record);
    this.runs.set(runId, run);
    return run;
  }

  /** What the next coordinator begins with. It went through JSON, as everything in a store. */
  replay(): RunState[] {
    return [...this.runs.values()].map(({ state }) => JSON.parse(JSON.stringify(state)) as RunState);
  }

  /** @throws Violation where a coordinator knows something else than the log */
  compare(states: Iterable<RunState>): void {
    for (const state of states) {
      const stored = this.runs.get(state.runId)?.state;
      if (!isDeepStrictEqual(JSON.parse(JSON.stringify(stored)), JSON.parse(JSON.stringify(state))))
        throw new Violation(
          'replay',
          `run ${state.runId} is at step ${state.step}, in its log at step ${stored?.step}`,
        );
    }
  }
}
