import { findCoordinator, type RunsClient } from '@weft/client';
import { systemClock } from '@weft/common';
import type { RunGoodput, RunRanks } from '@weft/contracts';
import type { CommandContext } from '../context.js';

const POLL_MS = 1000;

/** Asks again and again for what no stream brings: the ranks of a run, and where its time goes. */
export class RunPoller {
  ranks: RunRanks | undefined;
  goodput: RunGoodput | undefined;
  readonly #context: CommandContext;
  readonly #runId: string;
  readonly #over = new AbortController();
  #done: Promise<void> | undefined;

  constructor(context: CommandContext, runId: string) {
    this.#context = context;
    this.#runId = runId;
  }

  /** Begins, if it has not begun: where nothing is drawn, nobody needs it. */
  start(): void {
    this.#done ??= this.#poll();
  }

  async close(): Promise<void> {
    this.#over.abort();
    await this.#done;
  }

  /** With a connection of its own, because that of the run's stream moves to another coordinator by itself. */
  async #poll(): Promise<void> {
    const { signal } = this.#over;
    let client: RunsClient | undefined;
    while (!signal.aborted) {
      try {
        client ??= (await findCoordinator(this.#context))?.client;
        this.ranks = (await client?.ranks(this.#runId)) ?? this.ranks;
        this.goodput = (await client?.goodput(this.#runId)) ?? this.goodput;
      } catch {
        // It is away: what was known stays, and the next round looks for another.
        client?.close();
        client = undefined;
      }
      await systemClock.sleep(POLL_MS, signal).catch(() => {});
    }
    client?.close();
  }
}
