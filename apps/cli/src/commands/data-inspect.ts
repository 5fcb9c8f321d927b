import { bytes, count, percent, SOURCES } from '@weft/common';
import { type DatasetSummary, inspectDataset } from '@weft/data';
import { shortPath } from '@weft/files';
import type { SequenceName } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { withDataCures } from '../data/check-data.js';
import { DataDisplay } from '../data/data-display.js';
import { EXIT } from '../report-error.js';
import { resolveRun, withAbsolutePaths } from '../resolve-run.js';
import { type Line, paint, span } from '../spans.js';
import { facts, table } from '../table.js';
import { say } from '../terminal.js';

export interface DataInspectOptions {
  readonly sequence?: SequenceName;
  readonly verify?: boolean;
  readonly set?: readonly string[];
}

/** `weft data inspect`: what the index holds, whether its bytes are still the indexed ones, and what a sequence says. */
export async function dataInspect(
  context: CommandContext,
  recipe: string,
  options: DataInspectOptions,
): Promise<number> {
  const { terminal, json, home } = context;
  const config = withAbsolutePaths(await resolveRun(recipe, options), home);
  const { sequence, verify = false } = options;
  const display = new DataDisplay(context);
  const summary = await withDataCures({ config, recipe, settings: options.set ?? [], home }, () =>
    inspectDataset({
      ...config,
      verify,
      onProgress: display.onProgress,
      ...(sequence === undefined ? {} : { show: { source: sequence.source, sequence: sequence.index } }),
    }),
  ).finally(() => display.close());
  if (json) say(terminal, JSON.stringify(summary));
  else {
    if (summary.sequence === undefined || verify)
      for (const line of renderDataset(summary)) say(terminal, paint(line, terminal.colors));
    if (summary.sequence !== undefined) say(terminal, summary.sequence);
  }
  return EXIT.done;
}

export function renderDataset({ directory, tokenizer, limits, sources, isVerified }: DatasetSummary): Line[] {
  return [
    [span(shortPath(directory), 'bold')],
    ...facts([
      ['tokenizer', tokenizer],
      [
        'sequences',
        `${limits.sequenceLength} positions, ${limits.tokensPerImage} per image, up to ${limits.imagesPerSequence} images`,
      ],
      [
        'bytes',
        isVerified ? 'every shard and table is what was indexed' : 'names and sizes fit; --verify compares the hashes',
      ],
    ]),
    [],
    ...table(
      [
        { title: 'source' },
        ...['sequences', 'documents', 'pieces', 'text tokens', 'images', 'filled', 'shards', 'size'].map(
          (title) => ({ title, align: 'right' }) as const,
        ),
      ],
      SOURCES.map((source) => {
        const { sequences, documents, pieces, textTokens, images, fillRatio, shards, shardBytes } = sources[source];
        const numbers = [sequences, documents, pieces, textTokens, images].map(count);
        return [source, ...numbers, percent(fillRatio), count(shards), bytes(shardBytes)];
      }),
    ),
  ];
}
