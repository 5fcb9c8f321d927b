import { readFile, rename } from 'node:fs/promises';
import {
  checkManifest,
  checkpointsFolder,
  type Manifest,
  newestCheckpoint,
  stepDirectories,
  verifyCheckpoint,
} from '@weft/checkpoint';
import { MetricsColumns, readRunState } from '@weft/client';
import { isJsonObject, isRunId, SerialQueue, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type MetricsRow, parseRunGoodput, type RunGoodput } from '@weft/contracts';
import {
  type FindCheckpoint,
  type FoundCheckpoint,
  type KnownCheckpoint,
  parseRunRecord,
  type RunRecord,
  type RunState,
  repairMetrics,
} from '@weft/coordination';
import { type Home, makeDirectory, writeJsonFile } from '@weft/files';
import type { EventLog, Store } from '@weft/store';
import type { Logger } from '@weft/telemetry';
import { batchOfStep, type Range } from '@weft/topology';
import type { LeasedStore } from './leased-store.js';
import { MetricsFile } from './metrics-file.js';

/** How many rows come before the columns of the curves are brought up to date. */
const ROWS_PER_SAVE = 512;

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
  readonly #saving = new SerialQueue();
  #rowsSinceSave = 0;

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
    const { store } = this.#leasedStore;
    const { step } = await readRunState(this.#home, this.#runId, store.log(this.#runId));
    const columns = await MetricsColumns.open(this.directory);
    const bytes = await columns.bytesOf(step);
    // Where no row is missing, the others are cut off; else rows are made of the log.
    if (bytes !== undefined) await this.metrics.keepFirst(bytes);
    else await this.metrics.replace(repairMetrics(await this.metrics.read(), await readRunLog(store, this.#runId)));
  }

  /** The rows of the steps after `step`. */
  async rowsAfter(step: number): Promise<readonly MetricsRow[]> {
    const columns = await MetricsColumns.open(this.directory);
    return columns.rowsBetween(step + 1, columns.lastStep);
  }

  /** Appends a row. Now and then the columns of the curves follow, in the background. */
  async appendMetrics(row: MetricsRow): Promise<void> {
    await this.metrics.append(row);
    if (++this.#rowsSinceSave < ROWS_PER_SAVE) return;
    this.#rowsSinceSave = 0;
    void this.#saveCaches();
  }

  /** The columns of the curves, and the state that the next coordinator begins with. */
  async #saveCaches(): Promise<void> {
    await this.saveCurves();
    const log = this.#leasedStore.store.log(this.#runId);
    await readRunState(this.#home, this.#runId, log).catch(() => {});
  }

  /** Brings the columns of the curves up to the last row. They are a cache: that it cannot be written is no failure. */
  async saveCurves(): Promise<void> {
    await this.#saving.run(async () => (await MetricsColumns.open(this.directory)).save()).catch(() => {});
  }

  /** Where the time of the run went, as it was last written; undefined when it never was, or cannot be read. */
  async readGoodput(): Promise<RunGoodput | undefined> {
    const text = await readFile(this.#home.goodputFile(this.#runId), 'utf8').catch(() => '');
    return parseRunGoodput(parseJsonOrUndefined(text));
  }

  /** Where there is no room for it, the next one may be written. */
  async writeGoodput(goodput: RunGoodput): Promise<void> {
    await writeJsonFile(this.#home.goodputFile(this.#runId), goodput).catch(() => {});
  }

  /** Closes log and metrics; the next append opens them again. */
  async close(): Promise<void> {
    const log = this.#log;
    this.#log = undefined;
    await Promise.all([log?.close(), this.metrics.close(), this.saveCurves()]);
  }

  /**
   * The checkpoint of one step.
   *
   * @throws WeftError `not_found` naming the steps that have a checkpoint, `corrupt_data` when it does not verify, or is not the
   *   one of the log.
   */
  async findCheckpointOf(step: number, known: readonly KnownCheckpoint[]): Promise<FoundCheckpoint> {
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
    await checkManifest(directory, hashesOf(known).get(step));
    return { checkpoint: { step, directory }, skipped: [] };
  }

  /** Renames the folders of checkpoints after `afterStep`: they are not checkpoints of the run any more. */
  async setAsideCheckpoints(afterStep: number): Promise<void> {
    for (const { step, directory } of await stepDirectories(checkpointsFolder(this.directory)))
      if (step > afterStep) await setAside(directory);
  }

  /**
   * The newest checkpoint that verifies, is the one of the log, is healthy, holds no later step than `notAfterStep` and is of
   * this history: a manifest may be written late, when the run has gone back and skips data that this checkpoint was trained
   * on. Those that belong to steps which were rolled back are put aside: their folders are renamed.
   */
  async findCheckpoint({
    notAfterStep,
    unhealthy,
    known,
    skippedBatches,
  }: Pick<FindCheckpoint, 'notAfterStep' | 'unhealthy' | 'known' | 'skippedBatches'>): Promise<FoundCheckpoint> {
    const rolledBack: FoundCheckpoint['skipped'][number][] = [];
    for (;;) {
      const { checkpoint, skipped } = await newestCheckpoint(this.directory, undefined, {
        unhealthy,
        written: hashesOf(known),
      });
      const allSkipped = [...rolledBack, ...skipped];
      if (checkpoint === undefined) return { checkpoint: undefined, skipped: allSkipped };
      const { directory, manifest } = checkpoint;
      const { step } = manifest;
      const batches = [skippedBatchesOf(manifest), skippedBatches].map((skipped) => batchOfStep(step, skipped));
      const isOfThisHistory = batches[0] === batches[1];
      if (step <= notAfterStep && isOfThisHistory) return { checkpoint: { step, directory }, skipped: allSkipped };
      await setAside(directory);
      const reason = isOfThisHistory
        ? `it holds step ${step}, which was rolled back`
        : `it is of steps that were rolled back: its step ${step} had consumed batch ${batches[0]}, that of this run batch ${batches[1]}`;
      rolledBack.push({ directory, reason, isUnhealthy: false });
    }
  }
}

/** The batches that the run left out when this checkpoint was saved; none where its configuration says nothing of them. */
function skippedBatchesOf({ config }: Manifest): readonly Range[] {
  const data = isJsonObject(config) && isJsonObject(config.data) ? config.data : {};
  const all: readonly unknown[] = Array.isArray(data.skippedBatches) ? data.skippedBatches : [];
  return all.flatMap((range) => {
    const { first, end } = isJsonObject(range) ? range : {};
    return typeof first === 'number' && typeof end === 'number' ? [{ first, end }] : [];
  });
}

/** SHA-256 of manifests by step, as far as the log has them. */
function hashesOf(known: readonly KnownCheckpoint[]): ReadonlyMap<number, string> {
  return new Map(
    known.flatMap(({ step, manifestSha256: hash }) => (hash === undefined ? [] : [[step, hash] as const])),
  );
}

function parseJsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
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

/** The runs of a store, from their logs, and what long ones came to when they were last read. Unreadable runs are logged and skipped. */
export async function replayRuns(store: Store, home: Home, log: Logger): Promise<readonly RunState[]> {
  const runs: RunState[] = [];
  for (const runId of (await store.logNames()).filter(isRunId)) {
    try {
      runs.push(await readRunState(home, runId, store.log(runId)));
    } catch (thrown) {
      const error = WeftError.from(thrown);
      if (error.code === 'unavailable' || error.code === 'cancelled') throw error;
      // A folder without a log is not a run.
      if (error.code === 'not_found') continue;
      // A log without a record: the coordinator died before it could answer the launch.
      if (error.code === 'corrupt_data' && error.message === 'the log of a run is empty') continue;
      log.error({ error, runId }, `run ${runId} is left out: ${error.sentence}`);
    }
  }
  return runs;
}
