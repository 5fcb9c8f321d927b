import { rename } from 'node:fs/promises';
import { checkpointsFolder, newestCheckpoint, stepDirectories, verifyCheckpoint } from '@weft/checkpoint';
import { isRunId, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { MetricsRow } from '@weft/contracts';
import {
  type FoundCheckpoint,
  parseRunRecord,
  type RunRecord,
  type RunState,
  repairMetrics,
  replay,
} from '@weft/coordination';
import { type Home, makeDirectory, writeJsonFile } from '@weft/files';
import type { EventLog, Store } from '@weft/store';
import type { Logger } from '@weft/telemetry';
import type { LeasedStore } from './leased-store.js';
import { MetricsFile } from './metrics-file.js';

/**
 * What the coordinator writes for a run: its log in the store, and the files of its directory. Log and metrics are open only
 * while they are needed.
 */
export class RunFiles {
  readonly directory: string;
  readonly metrics: MetricsFile;
  readonly #runId: string;
  readonly #home: Home;
  readonly #leasedStore: Pick<LeasedStore, 'store' | 'lease'>;
  #log: EventLog | undefined;

  constructor(home: Home, leasedStore: Pick<LeasedStore, 'store' | 'lease'>, runId: string) {
    this.#home = home;
    this.#leasedStore = leasedStore;
    this.#runId = runId;
    this.directory = home.runDirectory(runId);
    this.metrics = new MetricsFile(home.metricsFile(runId));
  }

  /**
   * Appends to the run's log. The records are durable when it resolves.
   *
   * @returns what opening the log had to repair, one sentence, if anything.
   * @throws WeftError `failed_precondition` when another coordinator has the lease.
   */
  async append(records: readonly RunRecord[]): Promise<string | undefined> {
    const { store, lease } = this.#leasedStore;
    const wasOpen = this.#log !== undefined;
    this.#log ??= await store.openLog(this.#runId, lease);
    await this.#log.append(this.#log.lastSequence, records);
    return wasOpen ? undefined : this.#log.repaired;
  }

  async writeConfig(config: RunConfig): Promise<void> {
    await makeDirectory(this.directory);
    await writeJsonFile(this.#home.configFile(this.#runId), config);
  }

  /** Rewrites `metrics.jsonl` to fit the log, after the run was rolled back. */
  async repairMetrics(): Promise<void> {
    const rows = await this.metrics.read();
    await this.metrics.replace(repairMetrics(rows, await readRunLog(this.#leasedStore.store, this.#runId)));
  }

  /** The rows of the steps after `step`. */
  async rowsAfter(step: number): Promise<readonly MetricsRow[]> {
    return (await this.metrics.read()).filter((row) => row.step > step);
  }

  /** Closes log and metrics; the next append opens them again. */
  async close(): Promise<void> {
    const log = this.#log;
    this.#log = undefined;
    await Promise.all([log?.close(), this.metrics.close()]);
  }

  /**
   * The checkpoint of one step.
   *
   * @throws WeftError `not_found` naming the steps that have a checkpoint, `corrupt_data` when it does not verify.
   */
  async findCheckpointOf(step: number): Promise<FoundCheckpoint> {
    const all = await stepDirectories(checkpointsFolder(this.directory));
    const directory = all.find((each) => each.step === step)?.directory;
    if (directory === undefined) {
      const steps = all.map((each) => each.step).join(', ');
      throw new WeftError('not_found', `run ${this.#runId} has no checkpoint of step ${step} in ${this.directory}`, {
        hint: steps === '' ? 'begin again with --from-start' : `choose one of the steps ${steps}`,
      });
    }
    const manifest = await verifyCheckpoint(directory);
    if (manifest.step !== step)
      throw new WeftError('corrupt_data', `${directory} holds a checkpoint of step ${manifest.step}`);
    return { checkpoint: { step, directory }, skipped: [] };
  }

  /** Renames the folders of checkpoints after `afterStep`: they are not checkpoints of the run any more. */
  async setAsideCheckpoints(afterStep: number): Promise<void> {
    for (const { step, directory } of await stepDirectories(checkpointsFolder(this.directory)))
      if (step > afterStep) await setAside(directory);
  }

  /**
   * The newest checkpoint that verifies and holds no later step than `notAfterStep`. Later ones belong to steps that were
   * rolled back, and their folders are renamed.
   */
  async findCheckpoint(notAfterStep: number): Promise<FoundCheckpoint> {
    const rolledBack: { directory: string; reason: string }[] = [];
    for (;;) {
      const { checkpoint, skipped } = await newestCheckpoint(this.directory);
      const allSkipped = [...rolledBack, ...skipped];
      if (checkpoint === undefined) return { checkpoint: undefined, skipped: allSkipped };
      const { directory, manifest } = checkpoint;
      if (manifest.step <= notAfterStep) return { checkpoint: { step: manifest.step, directory }, skipped: allSkipped };
      await setAside(directory);
      rolledBack.push({ directory, reason: `it holds step ${manifest.step}, which was rolled back` });
    }
  }
}

async function setAside(directory: string): Promise<void> {
  await rename(directory, `${directory}.rolled-back-${new Date().toISOString().replaceAll(/[:.]/g, '')}`);
}

/**
 * The records of a run's log, without an append that a crash left incomplete.
 *
 * @throws WeftError `not_found` when the run has no log, `corrupt_data` when a line of it is damaged.
 */
export async function readRunLog(store: Store, runId: string): Promise<readonly RunRecord[]> {
  const records: RunRecord[] = [];
  for await (const { record } of store.log(runId).read()) records.push(parseRunRecord(record));
  return records;
}

/** The runs of a store, from their logs. Unreadable runs are logged and skipped. */
export async function replayRuns(store: Store, log: Logger): Promise<readonly RunState[]> {
  const runs: RunState[] = [];
  for (const runId of (await store.logNames()).filter(isRunId)) {
    try {
      const records = await readRunLog(store, runId);
      // A log without a record: the coordinator died before it could answer the launch.
      if (records.length > 0) runs.push(replay(records));
    } catch (thrown) {
      const error = WeftError.from(thrown);
      if (error.code === 'unavailable' || error.code === 'cancelled') throw error;
      // A folder without a log is not a run.
      if (error.code === 'not_found') continue;
      log.error({ error, runId }, `run ${runId} is left out: ${error.sentence}`);
    }
  }
  return runs;
}
