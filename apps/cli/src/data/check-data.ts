import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { Dataset } from '@weft/data';

/**
 * Opens the data of a run before anything is started, so that what is missing is said at once and with its cure.
 *
 * @param config with absolute paths.
 * @param recipe as the person typed it, for the commands of the cure.
 */
export async function checkData(config: RunConfig, recipe: string, home: string): Promise<void> {
  const { data, model } = config;
  const isDemo = data.directory === join(home, 'data', 'demo');
  if (isDemo && !(await exists(data.directory)))
    throw new WeftError('not_found', `the demo data are not in ${data.directory} yet`, {
      cure: `run weft data fetch demo, then weft data index ${recipe}`,
    });
  try {
    const dataset = await Dataset.open({ data, model });
    await dataset.close();
  } catch (thrown) {
    const error = WeftError.from(thrown);
    const cure = error.cure?.replaceAll('<recipe>', recipe);
    throw new WeftError(error.code, error.message, { cause: error, ...(cure === undefined ? {} : { cure }) });
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
