import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunConfig } from '@weft/config';
import type { MetricsRow } from '@weft/contracts';
import { type RunRecord, repairMetrics } from '@weft/coordination';
import { writeJsonFile } from '@weft/files';
import type { EventLog } from '@weft/store';
import type { HeldStore } from './hold-store.js';
import { runDirectory } from './home.js';
import { MetricsFile } from './metrics-file.js';
import { readRunLog } from './run-logs.js';

/** What a run keeps, as far as the coordinator writes it: its log in the store, which is open only while it is needed, and its directory. */
export class RunFiles {
  readonly runId: string;
  readonly directory: string;
  readonly metrics: MetricsFile;
  readonly #keeper: Pick<HeldStore, 'store' | 'held'>;
  #log: EventLog | undefined;

  constructor(home: string, keeper: Pick<HeldStore, 'store' | 'held'>, runId: string) {
    this.#keeper = keeper;
    this.runId = runId;
    this.directory = runDirectory(home, runId);
    this.metrics = new MetricsFile(this.directory);
  }

  /**
   * Appends to the run's log; the records are durable when it resolves.
   *
   * @returns what opening the log had to repair, one sentence, if anything.
   * @throws `failed_precondition` when another coordinator has the lease.
   */
  async append(records: readonly RunRecord[]): Promise<string | undefined> {
    const { store, held } = this.#keeper;
    const wasOpen = this.#log !== undefined;
    this.#log ??= await store.openLog(this.runId, held);
    await this.#log.append(this.#log.lastSequence, records);
    return wasOpen ? undefined : this.#log.repaired;
  }

  async writeConfig(config: RunConfig): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await writeJsonFile(join(this.directory, 'config.json'), config);
  }

  /** Makes the metrics fit the log again after a roll-back. */
  async repairMetrics(): Promise<void> {
    const rows = await this.metrics.read();
    await this.metrics.replace(repairMetrics(rows, await readRunLog(this.#keeper.store, this.runId)));
  }

  /** The rows of the steps after `step`. */
  async rowsAfter(step: number): Promise<readonly MetricsRow[]> {
    return (await this.metrics.read()).filter((row) => row.step > step);
  }

  /** Lets go of log and metrics; the next append opens them again. */
  async close(): Promise<void> {
    const log = this.#log;
    this.#log = undefined;
    await Promise.all([log?.close(), this.metrics.close()]);
  }
}
