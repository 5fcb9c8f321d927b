import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { Dataset } from '@weft/data';

/** The data of a run, and the command that named it. */
export interface RunData {
  /** With absolute paths. */
  readonly config: RunConfig;
  /** As the person typed it, for the commands that an error suggests. */
  readonly recipe: string;
  readonly settings: readonly string[];
  readonly home: string;
}

/** Opens the data of a run before anything is started, to report missing data at once. */
export async function checkData(run: RunData): Promise<void> {
  await withDataHints(run, async () => {
    const { data, model } = run.config;
    const dataset = await Dataset.open({ data, model });
    await dataset.close();
  });
}

/** Adds the recipe to errors of `@weft/data`, and the hint when the demo data is missing. */
export async function withDataHints<T>({ config, recipe, settings, home }: RunData, use: () => Promise<T>): Promise<T> {
  const { directory } = config.data;
  const dataSettings = settings.filter((setting) => /^\s*(data|model)\./.test(setting));
  const target = [recipe, ...(dataSettings.length === 0 ? [] : ['--set', ...dataSettings])].join(' ');
  try {
    return await use();
  } catch (thrown) {
    const error = WeftError.from(thrown);
    const isDemo = directory === join(home, 'data', 'demo') && !(await exists(join(directory, 'captioned')));
    if (isDemo)
      throw new WeftError('not_found', `the demo data are not in ${directory} yet`, {
        hint: `run weft data fetch demo, then weft data index ${target}`,
        cause: error,
      });
    const hint = error.hint?.replaceAll('<recipe>', target);
    throw new WeftError(error.code, error.message, { cause: error, ...(hint === undefined ? {} : { hint }) });
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
