import { count, plural, SOURCES } from '@weft/common';
import { indexDataset } from '@weft/data';
import { shortPath } from '@weft/files';
import type { CommandContext } from '../context.js';
import { withDataCures } from '../data/check-data.js';
import { DataDisplay } from '../data/data-display.js';
import { EXIT } from '../report-error.js';
import { resolveRun, withAbsolutePaths } from '../resolve-run.js';
import { say } from '../terminal.js';

/** `weft data index`: packs the shards of a recipe's data directory into sequences; keeps an index that is current. */
export async function dataIndex(
  context: CommandContext,
  recipe: string,
  options: { readonly set?: readonly string[]; readonly force?: boolean },
): Promise<number> {
  const { terminal, json, home } = context;
  const config = withAbsolutePaths(await resolveRun(recipe, options), home);
  const display = new DataDisplay(context);
  const { directory, built, sources } = await withDataCures({ config, recipe, settings: options.set ?? [], home }, () =>
    indexDataset({ ...config, force: options.force === true, onProgress: display.onProgress }),
  ).finally(() => display.close());
  const sequences = SOURCES.map((source) => `${source} ${count(sources[source].sequences)}`).join(', ');
  if (json) say(terminal, JSON.stringify({ directory, built, sources }));
  else {
    const shards = SOURCES.reduce((sum, source) => sum + sources[source].shards.length, 0);
    say(
      terminal,
      built ? `Packed ${plural(shards, 'shard')} into sequences: ${sequences}.` : `The index is current: ${sequences}.`,
    );
    say(terminal, `It lies in ${shortPath(directory)}`);
  }
  return EXIT.done;
}
