import { hostname } from 'node:os';
import { chooseRun, findCoordinator, listRunIds, noCoordinator, readRun, readRunRecords, withLogs } from '@weft/client';
import { UsageError } from '@weft/command-line';
import { WeftError } from '@weft/common';
import { applyResumeSettings, type RunConfig, resolveRunConfig } from '@weft/config';
import type { RunView } from '@weft/contracts';
import { type RunRecord, replay } from '@weft/coordination';
import { rejectConflicting } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { withCluster } from '../runs/drive-run.js';
import { printJson } from '../terminal.js';

/** The options of `weft resume`. */
export interface ResumeOptions {
  readonly coordinator?: string;
  readonly workers?: number;
  readonly steps?: number;
  readonly expertWorkers?: number;
  /** Settings of `engine`, as `--set` of `weft launch`. */
  readonly set?: readonly string[];
  /** The step of the checkpoint to go on from; default: the newest that verifies. */
  readonly fromStep?: number;
  readonly fromStart?: boolean;
  /** `true`: as many as the run asks for. */
  readonly local?: number | true;
  readonly detach?: boolean;
}

/**
 * `weft resume`: continues a run from its newest checkpoint: on the coordinator's cluster when there is one, otherwise on
 * this machine if the run trained here before or `--local` asks for it.
 */
export async function resume(context: CommandContext, text: string, options: ResumeOptions): Promise<number> {
  rejectConflicting(options);
  if (options.fromStart && options.fromStep !== undefined)
    throw new UsageError('--from-start and --from-step exclude each other');
  const { run, localWorkers, localExpertWorkers } = await chooseRunAndWorkers(context, text, options);
  if (localWorkers !== undefined && options.detach) {
    const { launchInBackground } = await import('../local-processes.js');
    return launchInBackground(context, ['resume', run.runId, ...repeatArguments(options)]);
  }

  return withCluster({
    context,
    localWorkers,
    localExpertWorkers,
    detach: options.detach === true,
    begin: async ({ client }, display) => {
      const { terminal, json } = context;
      const workers = options.workers ?? (typeof options.local === 'number' ? options.local : undefined);
      const resumed = await client.resume(run.runId, {
        workers,
        steps: options.steps,
        expertWorkers: options.expertWorkers,
        settings: options.set,
        fromStep: options.fromStart ? 0 : options.fromStep,
      });
      const { runId, step, directory } = resumed;
      if (json) printJson(terminal, { type: 'resumed', runId, fromStep: step, directory });
      else display.event(`Resumed ${runId} from ${step > 0 ? `step ${step}` : 'the start'}.`);
      return resumed;
    },
  });
}

/** Finds the run, and how many workers to start on this machine: undefined when a coordinator has workers. */
async function chooseRunAndWorkers(
  context: CommandContext,
  text: string,
  options: ResumeOptions,
): Promise<{ run: RunView; localWorkers: number | undefined; localExpertWorkers: number }> {
  const found = options.local === undefined ? await findCoordinator(context) : undefined;
  if (found !== undefined) {
    try {
      const runs = await found.client.list();
      const runId = chooseRun(
        text,
        runs.map((each) => each.runId),
      );
      const run = await found.client.get(runId);
      refuseFinished(run, options);
      return { run, localWorkers: undefined, localExpertWorkers: 0 };
    } finally {
      found.client.close();
    }
  }
  const runId = chooseRun(text, await listRunIds(context.home));
  const { run, records } = await withLogs(context, async (logOf) => ({
    run: await readRun(context.home, runId, logOf),
    records: await readRunRecords(context.home, runId, logOf),
  }));
  refuseFinished(run, options);
  const asked = options.workers ?? run.workers;
  if (options.local === undefined && !trainedOn(hostname(), records))
    throw noCoordinator(context, `weft resume ${runId} --local ${asked}`);
  const localWorkers = typeof options.local === 'number' ? options.local : asked;
  if (localWorkers < asked && options.workers !== undefined)
    throw new UsageError(`--workers asks for ${asked} workers, but --local starts ${localWorkers}`);
  return { run, localWorkers, localExpertWorkers: resumedConfig(records, options).expertWorkers ?? 0 };
}

/** @throws WeftError `invalid_argument` for what the coordinator would refuse, before any process is started. */
function resumedConfig(
  records: readonly RunRecord[],
  { workers, steps, expertWorkers, set = [] }: ResumeOptions,
): RunConfig {
  const { config } = replay(records);
  const changes = Object.entries({ workers, steps, expertWorkers }).filter(([, value]) => value !== undefined);
  if (changes.length === 0 && set.length === 0) return config;
  return resolveRunConfig(applyResumeSettings({ ...config, ...Object.fromEntries(changes) }, set), 'resume');
}

/** Whether every worker of the run's last ring was on this host. */
export function trainedOn(host: string, records: readonly RunRecord[]): boolean {
  const last = records.findLast((record) => record.kind === 'assigned');
  return last?.kind === 'assigned' && last.workers.every(({ hostName }) => hostName === host);
}

/** @throws `failed_precondition` when all steps are trained and no more are asked for. */
function refuseFinished({ runId, status, steps }: RunView, { steps: wanted = steps, ...options }: ResumeOptions): void {
  const fromStep = options.fromStart ? 0 : (options.fromStep ?? steps);
  if (status !== 'finished' || wanted > fromStep) return;
  throw new WeftError('failed_precondition', `run ${runId} is finished: all of its ${steps} steps are trained`, {
    hint: `train it further with weft resume ${runId} --steps ${steps * 2}, the new total`,
  });
}

/** The options as a person would type them, for the background process. */
function repeatArguments({
  workers,
  steps,
  expertWorkers,
  set = [],
  fromStep,
  fromStart,
  local,
}: ResumeOptions): string[] {
  return [
    ...(workers === undefined ? [] : ['--workers', `${workers}`]),
    ...(steps === undefined ? [] : ['--steps', `${steps}`]),
    ...(expertWorkers === undefined ? [] : ['--expert-workers', `${expertWorkers}`]),
    ...set.flatMap((setting) => ['--set', setting]),
    ...(fromStep === undefined ? [] : ['--from-step', `${fromStep}`]),
    ...(fromStart ? ['--from-start'] : []),
    ...(local === undefined ? [] : ['--local', ...(local === true ? [] : [`${local}`])]),
  ];
}
