import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { sourceCounts, WeftError } from '@weft/common';
import { Dataset } from '@weft/data';
import { shortPath } from '@weft/files';
import { recipe } from '@weft/recipes';
import { withAbsolutePaths } from '../resolve-run.js';
import type { Check } from './check.js';

/** The demo data of the quickstart and their index. */
export async function dataChecks(home: string): Promise<Check[]> {
  const config = withAbsolutePaths(recipe('debugTiny'), home);
  const { directory } = config.data;
  const name = 'demo data';
  const isThere = await access(join(directory, 'captioned')).then(
    () => true,
    () => false,
  );
  if (!isThere)
    return [{ name, status: 'missing', finding: `not in ${shortPath(directory)}`, hint: 'run weft data fetch demo' }];
  return [{ name, status: 'ok', finding: shortPath(directory) }, await indexCheck(config)];
}

async function indexCheck(config: ReturnType<typeof recipe>): Promise<Check> {
  const name = 'demo index';
  try {
    const dataset = await Dataset.open(config);
    const sequences = sourceCounts(dataset.sequences);
    await dataset.close();
    return { name, status: 'ok', finding: `sequences: ${sequences}` };
  } catch (thrown) {
    const { message } = WeftError.from(thrown);
    return { name, status: 'missing', finding: message, hint: 'run weft data index debugTiny' };
  }
}
