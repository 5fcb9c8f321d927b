import { UsageError } from '@weft/command-line';
import type { RunConfig } from '@weft/config';
import { type QueueOptions, queueSettings, rejectConflicting } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { resolveRun, withAbsolutePaths } from '../resolve-run.js';
import { queueSentence } from '../runs/describe-run.js';
import { print, printJson } from '../terminal.js';

/** The options of `weft launch`. */
export interface LaunchOptions extends QueueOptions {
  readonly coordinator?: string;
  /** `true`: as many as the run asks for. */
  readonly local?: number | true;
  readonly set?: readonly string[];
  readonly steps?: number;
  readonly workers?: number;
  readonly expertWorkers?: number;
  readonly initFrom?: string;
  readonly dryRun?: boolean;
  readonly detach?: boolean;
}

/** `weft launch`: starts a run, on this machine with `--local` or on the coordinator's cluster, and follows it to its end. */
export async function launch(context: CommandContext, recipe: string, options: LaunchOptions): Promise<number> {
  rejectConflicting(options);
  const config = await resolveConfig(recipe, options);
  const localConfig = withAbsolutePaths(config, context.home);
  if (options.dryRun) return (await import('./dry-run.js')).dryRun(context, config);
  if (options.local !== undefined && options.detach) {
    const { launchInBackground } = await import('../local-processes.js');
    return launchInBackground(context, ['launch', recipe, ...repeatArguments(options)]);
  }

  if (options.local !== undefined)
    await (await import('../data/check-data.js')).checkData({
      config: localConfig,
      recipe,
      settings: options.set ?? [],
      home: context.home,
    });
  const { withCluster } = await import('../runs/drive-run.js');
  return withCluster({
    context,
    localWorkers: options.local === true ? config.workers : options.local,
    localExpertWorkers: config.expertWorkers,
    detach: options.detach === true,
    begin: async ({ client, sharesFilesystem }, display) => {
      const { terminal, json } = context;
      const run = await client.launch(sharesFilesystem ? localConfig : config);
      const { runId, directory } = run;
      const queued = run.status === 'queued' ? { position: run.queuePosition, startsAtMs: run.expectedStartMs } : {};
      if (json) printJson(terminal, { type: 'launched', runId, directory, ...queued });
      else display.event(`Launched ${runId}.`);
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
  const { local, steps, workers, expertWorkers, initFrom } = options;
  const set = [...(options.set ?? []), ...queueSettings(options)];
  return [
    ...(local === undefined ? [] : ['--local', ...(local === true ? [] : [`${local}`])]),
    ...set.flatMap((setting) => ['--set', setting]),
    ...(steps === undefined ? [] : ['--steps', `${steps}`]),
    ...(workers === undefined ? [] : ['--workers', `${workers}`]),
    ...(expertWorkers === undefined ? [] : ['--expert-workers', `${expertWorkers}`]),
    ...(initFrom === undefined ? [] : ['--init-from', initFrom]),
  ];
}
