import { WeftError } from '@weft/common';
import { RunStatus, type RunSummary, RunsService, type RunUpdate } from '@weft/proto';
import { type RpcServer, serve, service } from '@weft/rpc';
import { exampleStep } from './run-fixtures.js';

/** A Runs service over a real socket that plays one run by a script: for what a real coordinator does only by chance. */
export interface Script {
  readonly summary: RunSummary;
  /** What each call of Watch sends, call after call; then the call ends, or breaks. */
  readonly watches: readonly { readonly updates: readonly RunUpdate[]; readonly breaks?: boolean }[];
}

export interface ScriptedCoordinator extends RpcServer {
  /** `after_step` of every call of Watch. */
  readonly askedAfter: (number | undefined)[];
}

export async function scriptedCoordinator({ summary, watches }: Script): Promise<ScriptedCoordinator> {
  const askedAfter: (number | undefined)[] = [];
  const runs = service(RunsService, {
    launch: () => summary,
    resume: () => summary,
    stop: () => summary,
    changeMixture: () => summary,
    saveCheckpoint: () => summary,
    get: () => summary,
    list: () => ({ runs: [summary] }),
    cluster: () => ({ coordinatorVersion: '0.1.0', workers: [], store: 'a script', storeError: '' }),
    goodput: () => ({ goodputJson: '' }),
    ranks: () => ({ ranksJson: '' }),
    profile: () => {
      throw new WeftError('internal', 'the script has no profile');
    },
    readLog: () => {
      throw new WeftError('internal', 'the script has no log');
    },
    async *watch({ afterStep }) {
      const script = watches[askedAfter.length];
      askedAfter.push(afterStep);
      if (script === undefined) throw new WeftError('internal', 'the script has no further call');
      yield* script.updates;
      if (script.breaks) throw new WeftError('unavailable', 'the coordinator is shutting down');
    },
  });
  return Object.assign(await serve({ services: [runs] }), { askedAfter });
}

export function summaryAt(step: number, changes: Partial<RunSummary> = {}): RunSummary {
  return {
    runId: 'run-a',
    recipe: 'debugTiny',
    status: RunStatus.RUN_STATUS_RUNNING,
    step,
    steps: 60,
    workers: 2,
    worldSize: 2,
    generation: 1,
    reason: '',
    checkpointStep: 0,
    directory: '/nowhere/run-a',
    createdAtMs: 1_000_000,
    updatedAtMs: 1_000_000,
    failureCode: '',
    failureHint: '',
    failureMessage: '',
    queuePosition: 0,
    priority: 0,
    expectedStartMs: 0,
    parent: '',
    failedAttempts: 0,
    maxAttempts: 1,
    loss: undefined,
    ...changes,
  };
}

export const summaryUpdate = (summary: RunSummary): RunUpdate => ({ body: { $case: 'summary', summary } });
export const metricsUpdate = (step: number): RunUpdate => ({
  body: { $case: 'metricsJson', metricsJson: JSON.stringify(exampleStep(step)) },
});
