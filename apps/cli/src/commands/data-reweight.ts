import { chooseRun, findCoordinator, listRunIds, loadRunRecords, type RunsClient } from '@weft/client';
import { UsageError } from '@weft/command-line';
import { plural } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { RunView } from '@weft/contracts';
import { describeChange, replay } from '@weft/coordination';
import { stepOfBatch } from '@weft/topology';
import type { CommandContext } from '../context.js';
import { withContentsIfThere } from '../data/ledger-queries.js';
import { Interrupts } from '../interrupts.js';
import { EXIT } from '../report-error.js';
import { openCluster } from '../runs/open-cluster.js';
import { print, printJson } from '../terminal.js';

/** The options of `weft data reweight`. */
export interface DataReweightOptions {
  readonly fromStep: number;
  /** A version of the packed index, or the newest that is there. */
  readonly indexVersion?: number | 'newest';
  /** Why, for the run's log. */
  readonly reason?: string;
}

/**
 * `weft data reweight`: other weights, or a newer version of the packed index, from a step on. What the run has consumed counts
 * on. Where no coordinator runs, one is started for the moment.
 */
export async function dataReweight(
  context: CommandContext,
  text: string,
  written: readonly string[],
  options: DataReweightOptions,
): Promise<number> {
  const { fromStep, reason = '' } = options;
  const weights = parseWeights(written);
  if (written.length === 0 && options.indexVersion === undefined)
    throw new UsageError('name weights, such as captioned=5 interleaved=5 text=1, or --index-version');
  return withClient(context, async (client, runIds) => {
    const runId = chooseRun(text, runIds);
    const before = replay(await loadRunRecords(context, runId, client)).config;
    const indexVersion = await wantedVersion(context, before, options.indexVersion);
    const run = await client.changeMixture(runId, { fromStep, weights, indexVersion, reason });
    const { data } = replay(await loadRunRecords(context, runId, client)).config;
    if (context.json) printJson(context.terminal, { runId, fromStep, mixtureChanges: data.mixtureChanges });
    else printPlan(context, run, data);
    return EXIT.done;
  });
}

/** `captioned=5` and so on. @throws UsageError */
function parseWeights(written: readonly string[]): Record<string, string> {
  const weights: Record<string, string> = {};
  for (const each of written) {
    const [, name, weight] = /^([^=]+)=(.+)$/.exec(each) ?? [];
    if (name === undefined || weight === undefined)
      throw new UsageError(`${JSON.stringify(each)} must look like source=weight, such as captioned=5`);
    if (Object.hasOwn(weights, name)) throw new UsageError(`${name} has two weights: ${weights[name]} and ${weight}`);
    weights[name] = weight;
  }
  return weights;
}

/** The coordinator that runs, or one of this moment: a run that has stopped needs nobody else. */
async function withClient(
  context: CommandContext,
  use: (client: RunsClient, runIds: readonly string[]) => Promise<number>,
): Promise<number> {
  const found = await findCoordinator(context);
  if (found !== undefined) {
    try {
      return await use(
        found.client,
        (await found.client.list()).map(({ runId }) => runId),
      );
    } finally {
      found.client.close();
    }
  }
  const interrupts = new Interrupts();
  const cluster = await openCluster({ context, localWorkers: 0, onProgress: () => {}, interrupts });
  try {
    return await use(cluster.client, await listRunIds(context.home));
  } finally {
    await cluster.close();
    interrupts.close();
  }
}

/** @throws WeftError where the index is on this machine and has no such version, or is not and the newest is asked for */
function wantedVersion(
  { home }: CommandContext,
  config: RunConfig,
  version: DataReweightOptions['indexVersion'],
): Promise<number | undefined> {
  if (version === undefined) return Promise.resolve(undefined);
  return withContentsIfThere(config, home, async (contents, problem) => {
    if (contents === undefined) {
      if (version === 'newest' && problem !== undefined) throw problem;
      return version === 'newest' ? undefined : version;
    }
    const newest = contents.versions;
    if (version !== 'newest' && version > newest)
      throw new UsageError(`the data index has ${plural(newest, 'version')}, and no version ${version}`);
    return version === 'newest' ? newest : version;
  });
}

/** All that is planned: an earlier request may hold later on. */
function printPlan({ terminal }: CommandContext, { runId, step }: RunView, data: RunConfig['data']): void {
  print(terminal, `The mixture of ${runId}, which is at step ${step}:`);
  const first = { weights: data.weights, indexVersion: data.indexVersion };
  print(terminal, `  from step 1 on: ${describeChange(first)}`);
  for (const { fromBatch, ...change } of data.mixtureChanges)
    print(terminal, `  from step ${stepOfBatch(fromBatch, data.skippedBatches) ?? '?'} on: ${describeChange(change)}`);
}
