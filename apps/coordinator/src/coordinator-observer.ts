import type { RunStatus } from '@weft/contracts';
import type { ClusterEvent, ClusterState, Command, Decision, RunRecord } from '@weft/coordination';
import type { CoordinatorMetrics, Logger } from '@weft/telemetry';

/** Turns decisions into log lines and metrics. */
export class CoordinatorObserver {
  readonly #log: Logger;
  readonly #metrics: CoordinatorMetrics;
  /** When steps were committed whose checkpoint may still be written, by run and step. */
  readonly #committedMs = new Map<string, Map<number, number>>();
  readonly #checkpointBytes = new Map<string, number>();

  constructor(log: Logger, metrics: CoordinatorMetrics) {
    this.#log = log;
    this.#metrics = metrics;
  }

  observe(decision: Decision, event: ClusterEvent): void {
    const { records, commands, state } = decision;
    for (const { runId, record } of records) this.#count(runId, record);
    for (const command of commands) this.#measureCheckpoint(command);
    // At every step only counters change.
    if (!isRoutine(event, records)) this.#countRuns(state);
    this.#logReason(decision, event);
  }

  #logReason({ reason, records }: Decision, event: ClusterEvent): void {
    if (reason === '') return;
    const fields = { event: event.kind, ...('runId' in event ? { runId: event.runId } : {}) };
    const kinds = new Set(records.map(({ record }) => record.kind));
    if (kinds.has('failed')) this.#log.error(fields, reason);
    else if (
      kinds.has('workerLost') ||
      kinds.has('ringBroke') ||
      kinds.has('hung') ||
      kinds.has('straggler') ||
      hasSkipped(records) ||
      hasSpike(records)
    )
      this.#log.warn(fields, reason);
    else if (isRoutine(event, records)) this.#log.debug(fields, reason);
    else this.#log.info(fields, reason);
  }

  #count(runId: string, record: RunRecord): void {
    if (record.kind === 'workerLost') this.#metrics.workerLost();
    if (record.kind === 'assigned') this.#metrics.generationChanged();
    if (record.kind === 'committed') {
      this.#metrics.stepCommitted({ applied: record.entry.applied });
      const ofRun = this.#committedMs.get(runId) ?? new Map<number, number>();
      this.#committedMs.set(runId, ofRun.set(record.entry.step, Date.parse(record.time)));
    }
    if (record.kind === 'checkpointWritten') this.#checkpointWritten(runId, record.step, Date.parse(record.time));
    if (record.kind === 'finished' || record.kind === 'stopped' || record.kind === 'failed') this.#forget(runId);
  }

  #measureCheckpoint(command: Command): void {
    if (command.kind !== 'writeManifest') return;
    const bytes = command.files.reduce((sum, file) => sum + file.bytes, 0);
    this.#checkpointBytes.set(command.runId, bytes);
  }

  #checkpointWritten(runId: string, step: number, writtenMs: number): void {
    const ofRun = this.#committedMs.get(runId);
    const seconds = (writtenMs - (ofRun?.get(step) ?? writtenMs)) / 1000;
    this.#metrics.checkpointWritten({ seconds, bytes: this.#checkpointBytes.get(runId) ?? 0 });
    for (const other of ofRun?.keys() ?? []) if (other <= step) ofRun?.delete(other);
  }

  #forget(runId: string): void {
    this.#committedMs.delete(runId);
    this.#checkpointBytes.delete(runId);
  }

  #countRuns({ runs }: ClusterState): void {
    const statuses: Partial<Record<RunStatus, number>> = {};
    for (const { state: durable } of runs.values()) statuses[durable.status] = (statuses[durable.status] ?? 0) + 1;
    this.#metrics.setRuns(statuses);
  }
}

function hasSkipped(records: Decision['records']): boolean {
  return records.some(({ record }) => record.kind === 'resumed' && record.skippedCheckpoints.length > 0);
}

function hasSpike(records: Decision['records']): boolean {
  return records.some(({ record }) => record.kind === 'committed' && record.spike !== undefined);
}

/** Events of every step, ticks, and messages that came too late: logged only for debugging. */
export function isRoutine(event: ClusterEvent, records: Decision['records']): boolean {
  if (records.length > 0) return records.every(({ record }) => record.kind === 'committed');
  return 'generation' in event || event.kind === 'tick';
}
