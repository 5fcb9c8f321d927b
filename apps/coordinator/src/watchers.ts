import type { RunUpdate } from '@weft/proto';

/** The updates that one watcher has not yet received. */
export class Watcher implements AsyncIterable<RunUpdate> {
  #updates: RunUpdate[] = [];
  #isOver = false;
  #wake: () => void = () => {};

  push(update: RunUpdate): void {
    if (this.#isOver) return;
    this.#updates.push(update);
    this.#wake();
  }

  /** Ends the updates; those pushed before are still delivered. */
  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RunUpdate, void, undefined> {
    for (;;) {
      const updates = this.#updates;
      this.#updates = [];
      yield* updates;
      if (this.#updates.length > 0) continue;
      if (this.#isOver) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** All watchers, by run. */
export class Watchers {
  readonly #watchers = new Map<string, Set<Watcher>>();
  /** The last summary that was pushed of each run, as JSON. */
  readonly #lastPushed = new Map<string, string>();

  get runIds(): readonly string[] {
    return [...this.#watchers.keys()];
  }

  add(runId: string, watcher: Watcher): void {
    const others = this.#watchers.get(runId) ?? new Set();
    this.#watchers.set(runId, others.add(watcher));
  }

  remove(runId: string, watcher: Watcher): void {
    watcher.end();
    const others = this.#watchers.get(runId);
    others?.delete(watcher);
    if (others?.size !== 0) return;
    this.#watchers.delete(runId);
    this.#lastPushed.delete(runId);
  }

  push(runId: string, update: RunUpdate): void {
    for (const watcher of this.#watchers.get(runId) ?? []) watcher.push(update);
  }

  /** To the watchers of all runs. */
  pushToAll(update: RunUpdate): void {
    for (const runId of this.runIds) this.push(runId, update);
  }

  /** Like `push`, unless the update is the same as the last one. */
  pushIfNew(runId: string, update: RunUpdate): void {
    const text = JSON.stringify(update);
    if (this.#lastPushed.get(runId) === text) return;
    this.#lastPushed.set(runId, text);
    this.push(runId, update);
  }

  /** The run has ended: its watchers get the remaining updates and end. */
  end(runId: string): void {
    for (const watcher of [...(this.#watchers.get(runId) ?? [])]) this.remove(runId, watcher);
  }

  endAll(): void {
    for (const runId of this.runIds) this.end(runId);
  }
}
