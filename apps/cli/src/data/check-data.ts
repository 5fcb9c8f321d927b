import { access } from 'node:fs/promises';
import { bytes, ofSource, WeftError } from '@weft/common';
import { datasetSettings, hasDefaultSources, type RunConfig } from '@weft/config';
import { checkEpochs, Dataset, newestIndexVersion } from '@weft/data';
import { isRemote, joinPath, shortPath } from '@weft/files';
import { withAbsolutePaths } from '../resolve-run.js';

/** The data of a run, and the command that named it. */
export interface RunData {
  /** With absolute paths. */
  readonly config: RunConfig;
  /** As the person typed it, for the commands that an error suggests. */
  readonly recipe: string;
  readonly settings: readonly string[];
  readonly home: string;
}

/** The configuration with the version of the index that is the newest now, where its data are on this machine. */
export async function withIndexVersion(config: RunConfig, local: RunConfig): Promise<RunConfig> {
  if (config.data.indexVersion !== null) return config;
  const indexVersion = (await newestIndexVersion(local).catch(() => undefined)) ?? null;
  return { ...config, data: { ...config.data, indexVersion } };
}

/** A plan of many runs, each with the newest version of its index: one that grows meanwhile changes none of them. */
export async function withIndexVersions<Run extends { readonly config: RunConfig }>(
  runs: readonly Run[],
  home: string,
): Promise<readonly Run[]> {
  return await Promise.all(
    runs.map(async (run) => ({
      ...run,
      config: await withIndexVersion(run.config, withAbsolutePaths(run.config, home)),
    })),
  );
}

/**
 * Opens the data and the tasks of a run before anything is started, to report what is missing at once.
 *
 * @returns what the run will be slow for, a sentence each
 */
export async function checkData(run: RunData): Promise<readonly string[]> {
  return await withDataHints(run, async () => {
    const notes: string[] = [];
    const dataset = await Dataset.open(run.config);
    try {
      await dataset.compareShards(run.config.data);
      checkEpochs(dataset, run.config);
      notes.push(...cacheNotes(dataset, run.config.data));
    } finally {
      await dataset.close();
    }
    if (Object.keys(run.config.evaluation.tasks).length === 0) return notes;
    const { checkTasks } = await import('@weft/evaluation');
    await checkTasks(run.config);
    return notes;
  });
}

/** Pictures anywhere in shards that do not fit into the cache cost a block each. */
export function cacheNotes({ manifest }: Pick<Dataset, 'manifest'>, data: RunConfig['data']): readonly string[] {
  const { directory, weights, remote, shuffle } = data;
  const far = Object.entries(manifest.sources)
    .filter(([source, { images }]) => images > 0 && (weights[source] ?? 0) > 0)
    .filter(([source]) => isRemote(datasetSettings(data, source).directory ?? directory))
    .flatMap(([, { shards }]) => shards.map((shard) => shard.bytes));
  const farBytes = far.reduce((sum, each) => sum + each, 0);
  if (farBytes <= remote.cacheBytes || shuffle !== null) return [];
  return [
    `Its shards with pictures (${bytes(farBytes)}) do not fit into the cache (${bytes(remote.cacheBytes)}): where they are shuffled as a whole, most pictures are fetched with 8 MiB around them. Set data.shuffle.blockSequences=64, or data.remote.cacheBytes to more.`,
  ];
}

/** Adds to errors of `@weft/data` the recipe, and what to do first when the folders of its sources are missing. */
export async function withDataHints<T>({ config, recipe, settings, home }: RunData, use: () => Promise<T>): Promise<T> {
  const dataSettings = settings.filter((setting) => /^\s*(data|model|task)\./.test(setting));
  const target = [recipe, ...(dataSettings.length === 0 ? [] : ['--set', ...dataSettings])].join(' ');
  try {
    return await use();
  } catch (thrown) {
    const error = WeftError.from(thrown);
    const { directory, sources, weights, datasets } = config.data;
    const needed = Object.keys(sources).filter((source) => ofSource(weights, source) > 0);
    const missing = await missingOf(
      needed.map((source) => datasetSettings({ datasets }, source).directory ?? joinPath(directory, source)),
    );
    const isDemo = directory === joinPath(home, 'data', 'demo') && hasDefaultSources(config.data);
    if (isDemo && missing.length === needed.length)
      throw new WeftError('not_found', `the demo data are not in ${directory} yet`, {
        hint: `run weft data fetch demo, then weft data index ${target}`,
        cause: error,
      });
    const asksForIndex = error.hint?.includes('<recipe>') === true;
    const first =
      asksForIndex && missing.length > 0 ? `put shards into ${missing.map(shortPath).join(', ')}, then ` : '';
    const hint = error.hint?.replaceAll('<recipe>', target);
    throw new WeftError(error.code, error.message, {
      cause: error,
      ...(hint === undefined ? {} : { hint: `${first}${hint}` }),
    });
  }
}

async function missingOf(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    paths
      .filter((path) => !isRemote(path))
      .map((path) =>
        access(path).then(
          () => [],
          () => [path],
        ),
      ),
  );
  return found.flat();
}
