import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunConfig } from '@weft/config';
import { type MetricsRow, mendMetrics, type RunRecord } from '@weft/coordination';
import { FileEventLog, writeJsonFile } from '@weft/store';
import { eventLogPath, readRunLog, runDirectory } from './home.js';
import { MetricsFile } from './metrics-file.js';

/** What a run keeps in its directory, as far as the coordinator writes it. The log is open only while it is needed. */
export class RunFiles {
  readonly runId: string;
  readonly directory: string;
  readonly metrics: MetricsFile;
  readonly #home: string;
  #log: FileEventLog | undefined;

  constructor(home: string, runId: string) {
    this.#home = home;
    this.runId = runId;
    this.directory = runDirectory(home, runId);
    this.metrics = new MetricsFile(this.directory);
  }

  /**
   * Appends to the run's log; the records are on disk when it resolves.
   *
   * @returns what opening the log had to repair, one sentence, if anything.
   */
  async append(records: readonly RunRecord[]): Promise<string | undefined> {
    const wasOpen = this.#log !== undefined;
    this.#log ??= await FileEventLog.open(eventLogPath(this.#home, this.runId));
    await this.#log.append(this.#log.lastSequence, records);
    return wasOpen ? undefined : this.#log.repaired;
  }

  async writeConfig(config: RunConfig): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await writeJsonFile(join(this.directory, 'config.json'), config);
  }

  /** Makes the metrics fit the log again after a roll-back. */
  async mendMetrics(): Promise<void> {
    await this.metrics.replace(mendMetrics(await this.metrics.read(), await readRunLog(this.#home, this.runId)));
  }

  /** The rows of the steps after `step`. */
  async rowsAfter(step: number): Promise<readonly MetricsRow[]> {
    return (await this.metrics.read()).filter((row) => row.step > step);
  }

  /** Lets go of the log; the next append opens it again. */
  async close(): Promise<void> {
    await this.#log?.close();
    this.#log = undefined;
  }
}
