import { join } from 'node:path';
import { bytes, count, SOURCES } from '@weft/common';
import { fetchDemo } from '@weft/data';
import { shortPath } from '@weft/files';
import type { CommandContext } from '../context.js';
import { DataDisplay } from '../data/data-display.js';
import { EXIT } from '../report-error.js';
import { say } from '../terminal.js';

/** `weft data fetch demo`: real images, documents and speeches from public packages, as shards; kept when current. */
export async function dataFetch(context: CommandContext): Promise<number> {
  const { terminal, json, home } = context;
  const directory = join(home, 'data', 'demo');
  const display = new DataDisplay(context);
  const result = await fetchDemo({ directory, onProgress: display.onProgress }).finally(() => display.close());
  if (json) say(terminal, JSON.stringify(result));
  else {
    const shards = SOURCES.map((source) => `${source} ${count(result.shards[source])}`).join(', ');
    say(terminal, `${result.built ? 'Built' : 'Already there:'} ${bytes(result.bytes)} of shards: ${shards}.`);
    say(terminal, `They lie in ${shortPath(directory)}`);
    say(terminal, `Next: ${terminal.commandName} data index debugTiny`);
  }
  return EXIT.done;
}
