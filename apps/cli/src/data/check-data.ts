import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { Dataset } from '@weft/data';

export interface DataOfRun {
  /** With absolute paths. */
  readonly config: RunConfig;
  /** As the person typed it, for the commands of a cure. */
  readonly recipe: string;
  readonly settings: readonly string[];
  readonly home: string;
}

/** Opens the data of a run before anything is started, so that what is missing is said at once and with its cure. */
export async function checkData(run: DataOfRun): Promise<void> {
  await withDataCures(run, async () => {
    const { data, model } = run.config;
    const dataset = await Dataset.open({ data, model });
    await dataset.close();
  });
}

/** Makes the cures of the data room exact: the recipe by its name, and the demo data where those are what is missing. */
export async function withDataCures<T>(
  { config, recipe, settings, home }: DataOfRun,
  use: () => Promise<T>,
): Promise<T> {
  const { directory } = config.data;
  const dataSettings = settings.filter((setting) => /^\s*(data|model)\./.test(setting));
  const meant = [recipe, ...(dataSettings.length === 0 ? [] : ['--set', ...dataSettings])].join(' ');
  try {
    return await use();
  } catch (thrown) {
    const error = WeftError.from(thrown);
    const isDemo = directory === join(home, 'data', 'demo') && !(await exists(join(directory, 'captioned')));
    if (isDemo)
      throw new WeftError('not_found', `the demo data are not in ${directory} yet`, {
        cure: `run weft data fetch demo, then weft data index ${meant}`,
        cause: error,
      });
    const cure = error.cure?.replaceAll('<recipe>', meant);
    throw new WeftError(error.code, error.message, { cause: error, ...(cure === undefined ? {} : { cure }) });
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
