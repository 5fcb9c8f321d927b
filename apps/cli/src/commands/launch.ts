import type { RunsClient } from '@weft/client';
import { UsageError } from '@weft/command-line';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type PlanOptions, type QueueOptions, queueSettings, rejectConflicting } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { resolveRun, withAbsolutePaths } from '../resolve-run.js';
import { queueSentence } from '../runs/describe-run.js';
import { print, printJson } from '../terminal.js';

/** The options of `weft launch`. */
export interface LaunchOptions extends QueueOptions, PlanOptions {
  readonly coordinator?: string;
  /** `true`: as many as the run asks for. */
  readonly local?: number | true;
  readonly set?: readonly string[];
  readonly steps?: number;
  readonly workers?: number;
  readonly expertWorkers?: number;
  readonly initFrom?: readonly string[];
  /** Ids of runs, or their beginnings. */
  readonly after?: readonly string[];
  readonly dryRun?: boolean;
  readonly detach?: boolean;
}

/** `weft launch`: starts a run, on this machine with `--local` or on the coordinator's cluster, and follows it to its end. */
export async function launch(context: CommandContext, recipe: string, options: LaunchOptions): Promise<number> {
  rejectConflicting(options);
  rejectPlanOptions(options);
  const config = await resolveConfig(recipe, options);
  const localConfig = withAbsolutePaths(config, context.home);
  await checkWithModel(context, localConfig, options);
  if (options.dryRun) return (await import('./dry-run.js')).dryRun(context, config, options);
  if (options.local !== undefined && options.detach) {
    const { launchInBackground } = await import('../local-processes.js');
    return launchInBackground(context, ['launch', recipe, ...repeatArguments(options)]);
  }

  const notes: string[] = [];
  const { checkData, checkShardNames } = await import('../data/check-data.js');
  const data = { config: localConfig, recipe, settings: options.set ?? [], home: context.home };
  if (options.local !== undefined) notes.push(...(await checkData(data)));
  else await checkShardNames(data);
  const { withCluster } = await import('../runs/drive-run.js');
  return withCluster({
    context,
    localWorkers: options.local === true ? config.workers : options.local,
    localExpertWorkers: config.expertWorkers,
    detach: options.detach === true,
    begin: async ({ client, sharesFilesystem }, display) => {
      const { terminal, json } = context;
      const after = await findRuns(client, options.after);
      const { withIndexVersion } = await import('../data/check-data.js');
      const pinned = await withIndexVersion(sharesFilesystem ? localConfig : config, localConfig);
      const run = await client.launch(startingAfter(after, pinned));
      const { runId, directory } = run;
      const queued = run.status === 'queued' ? { position: run.queuePosition, startsAtMs: run.expectedStartMs } : {};
      if (json) printJson(terminal, { type: 'launched', runId, directory, ...queued });
      else for (const line of [`Launched ${runId}.`, ...notes]) display.event(line);
      if (run.status === 'queued' && !json) display.event(queueSentence(run, Date.now()));
      if (config.learningRateSource !== null && !json) {
        const { sourceSentence } = await import('../learning-rate/render-fit.js');
        display.event(`It trains at a ${sourceSentence(config.learningRateSource)}.`);
      }
      if (options.detach && !json) print(terminal, `Follow it with ${terminal.commandName} watch ${runId}`);
      return run;
    },
  });
}

/** The ids of the runs that a person named. @throws WeftError `not_found` */
async function findRuns(client: RunsClient, texts: readonly string[] = []): Promise<readonly string[]> {
  if (texts.length === 0) return [];
  const { chooseRun } = await import('@weft/client');
  const runIds = (await client.list()).map(({ runId }) => runId);
  return [...new Set(texts.map((text) => chooseRun(text, runIds)))];
}

function startingAfter(runIds: readonly string[], config: RunConfig): RunConfig {
  return { ...config, queue: { ...config.queue, after: [...config.queue.after, ...runIds] } };
}

/**
 * What only the parameters of the model tell must be right before anything is started. A coordinator elsewhere, with files of
 * its own, checks too.
 */
async function checkWithModel(
  { terminal }: CommandContext,
  config: RunConfig,
  { local, dryRun }: LaunchOptions,
): Promise<void> {
  if (config.initFrom === null && Object.keys(config.optimizer.learningRateFactors).length === 0) return;
  const { checkRun } = await import('@weft/tasks');
  const notes = await checkRun(config).catch((thrown: unknown) => {
    if (local !== undefined || dryRun || !WeftError.is(thrown, 'not_found')) throw thrown;
    return [];
  });
  for (const note of notes) terminal.stderr.write(`${note}\n`);
}

/** Refuses what describes devices without a plan to be made for them. */
function rejectPlanOptions(options: LaunchOptions): void {
  if (options.devices !== undefined && !options.dryRun)
    throw new UsageError('--devices plans a run without starting it', 'write --dry-run too');
  const lost = (['hosts', 'chip', 'network', 'price'] as const).find((name) => options[name] !== undefined);
  if (lost !== undefined && options.devices === undefined)
    throw new UsageError(`--${lost} says more of --devices, which is not given`, 'write --devices 8x80GiB too');
}

/** `--local N` also sets the number of workers that the run asks for, unless `--workers` or `--set` does. */
async function resolveConfig(recipe: string, given: LaunchOptions): Promise<RunConfig> {
  const options = { ...given, set: [...(given.set ?? []), ...queueSettings(given)] };
  const isChosen = options.workers !== undefined || options.set?.some((setting) => /^\s*workers\s*=/.test(setting));
  const { local } = options;
  const workers = typeof local === 'number' && !isChosen ? local : options.workers;
  const config = await resolveRun(recipe, { ...options, ...(workers === undefined ? {} : { workers }) });
  if (typeof local === 'number' && local < config.workers)
    throw new UsageError(
      `the run asks for ${config.workers} workers, but --local starts ${local}`,
      `write --local ${config.workers}, or leave out the other`,
    );
  return config;
}

/** The options as a person would type them, for the background process. */
function repeatArguments(options: LaunchOptions): string[] {
  const { local, steps, workers, expertWorkers, initFrom, after } = options;
  const set = [...(options.set ?? []), ...queueSettings(options)];
  return [
    ...(local === undefined ? [] : ['--local', ...(local === true ? [] : [`${local}`])]),
    ...set.flatMap((setting) => ['--set', setting]),
    ...(steps === undefined ? [] : ['--steps', `${steps}`]),
    ...(workers === undefined ? [] : ['--workers', `${workers}`]),
    ...(expertWorkers === undefined ? [] : ['--expert-workers', `${expertWorkers}`]),
    ...(initFrom ?? []).flatMap((checkpoint) => ['--init-from', checkpoint]),
    ...(after ?? []).flatMap((run) => ['--after', run]),
  ];
}
