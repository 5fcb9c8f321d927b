import { randomBytes } from 'node:crypto';
import { assertNever, WeftError } from '@weft/common';
import type { MetricsRow } from '@weft/contracts';
import type { Assign, ClusterEvent, Command, FindCheckpoint } from '@weft/coordination';
import type { JobQueue } from '@weft/store';
import type { Logger } from '@weft/telemetry';
import { executeInQueue } from './queue-jobs.js';
import type { RunFiles } from './run-files.js';
import type { Watchers } from './watchers.js';
import { assignmentMessage, commandMessage, failureFromError, prepareMessage } from './wire.js';
import type { WorkerStreams } from './worker-registry.js';

interface EffectsOptions {
  readonly streams: WorkerStreams;
  readonly watchers: Watchers;
  readonly jobs: JobQueue;
  readonly filesOf: (runId: string) => RunFiles;
  /** Submits the events to which commands lead later. */
  readonly dispatch: (event: ClusterEvent) => void;
  readonly log: Logger;
}

/** Executes commands: messages to workers, changes of the queue, files of runs. */
export class Effects {
  readonly #options: EffectsOptions;

  constructor(options: EffectsOptions) {
    this.#options = options;
  }

  /** Never throws: a failed command that a run cannot do without fails the run. */
  async execute(command: Command): Promise<void> {
    try {
      await this.#execute(command);
    } catch (thrown) {
      const error = WeftError.from(thrown);
      this.#options.log.error({ error, command: command.kind }, `${command.kind} failed: ${error.sentence}`);
      const runId = affectedRun(command);
      if (runId !== undefined) this.#options.dispatch({ kind: 'runFailed', runId, failure: failureFromError(error) });
    }
  }

  async #execute(command: Command): Promise<void> {
    const { streams, filesOf } = this.#options;
    switch (command.kind) {
      case 'assign':
        return this.#assign(command);
      case 'prepare':
        return streams.send(command.workerId, prepareMessage(command, filesOf(command.runId).directory));
      case 'probe': {
        const addresses = [...command.addresses];
        return streams.send(command.workerId, { body: { $case: 'probe', probe: { addresses } } });
      }
      case 'askProgress':
        for (const workerId of command.workerIds)
          streams.send(workerId, { body: { $case: 'askProgress', askProgress: {} } });
        return;
      case 'decideStep':
      case 'endGeneration':
      case 'continueGeneration':
      case 'stopRun':
      case 'release': {
        const message = commandMessage(command);
        for (const workerId of command.workerIds) streams.send(workerId, message);
        return;
      }
      case 'writeManifest':
        return streams.send(command.workerId, commandMessage(command));
      case 'dismiss':
        return streams.close(command.workerId, new WeftError(command.code, command.message));
      case 'writeConfig':
        return filesOf(command.runId).writeConfig(command.config);
      case 'findCheckpoint':
        return this.#findCheckpoint(command);
      case 'setAsideCheckpoints':
        return filesOf(command.runId).setAsideCheckpoints(command.afterStep);
      case 'repairMetrics':
        return filesOf(command.runId).repairMetrics();
      case 'appendMetrics':
        return this.#appendMetrics(command.runId, command.row);
      case 'notify':
        return this.#options.watchers.push(command.runId, { body: { $case: 'notice', notice: command.sentence } });
      case 'enqueue':
      case 'takeJob':
      case 'requeueJob':
      case 'completeJob':
      case 'failJob':
      case 'cancelJob':
        return executeInQueue(this.#options.jobs, command);
      default:
        return assertNever(command);
    }
  }

  #assign(command: Assign): void {
    const token = randomBytes(16).toString('hex');
    const { directory } = this.#options.filesOf(command.runId);
    const send = (role: 'rank' | 'expertWorker', members: Assign['ring']) => {
      for (const [number, { workerId }] of members.entries())
        this.#options.streams.send(workerId, assignmentMessage(command, role, number, token, directory));
    };
    send('rank', command.ring);
    send('expertWorker', command.experts);
  }

  /** Runs in the background, because it reads every byte of a checkpoint. */
  #findCheckpoint(command: FindCheckpoint): void {
    const { runId } = command;
    const { dispatch, filesOf } = this.#options;
    filesOf(runId)
      .findCheckpoint(command)
      .then(
        (found) => dispatch({ kind: 'checkpointFound', runId, found }),
        (thrown: unknown) => dispatch({ kind: 'runFailed', runId, failure: failureFromError(WeftError.from(thrown)) }),
      );
  }

  /** A row that cannot be written does not stop the run: the log has the commit, and a resume repairs the file. */
  async #appendMetrics(runId: string, row: MetricsRow): Promise<void> {
    const { filesOf, log, watchers } = this.#options;
    await filesOf(runId)
      .appendMetrics(row)
      .catch((thrown: unknown) => {
        const { sentence } = WeftError.from(thrown);
        log.warn({ runId, step: row.step }, `the metrics of step ${row.step} of run ${runId} are lost: ${sentence}`);
      });
    watchers.push(runId, { body: { $case: 'metricsJson', metricsJson: JSON.stringify(row) } });
  }
}

function affectedRun(command: Command): string | undefined {
  if (command.kind === 'enqueue') return command.job.runId;
  return 'runId' in command ? command.runId : undefined;
}
