import { loadLedgerOverview, loadRunRecords, withRun } from '@weft/client';
import { count, decimal, mapSources, ofSource, type PerSource, plural, type SourceId, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { SequenceContents } from '@weft/contracts';
import type { RunRecord } from '@weft/coordination';
import type { RunContents } from '@weft/data';
import { type DatasetSequence, Ledger, type LedgerEntry, scheduleOf, sharesBy, stretchOfStep } from '@weft/mixture';
import { stepOfBatch } from '@weft/topology';
import type { SequenceName } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { renderContents } from '../data/render-contents.js';
import { EXIT } from '../report-error.js';
import { type Line, printLines, span, summaryRows, table } from '../styled-lines.js';
import { print, printJson, type Terminal } from '../terminal.js';

/** The options of `weft data ledger`; at most one is given. */
export interface DataLedgerOptions {
  readonly step?: number;
  readonly sequence?: SequenceName;
  readonly check?: boolean;
}

/** The last steps that the overview shows. */
const SHOWN_STEPS = 10;
const SHOWN_PROBLEMS = 20;

interface RunLedger {
  readonly runId: string;
  readonly config: RunConfig;
  readonly ledger: Ledger;
  readonly records: readonly RunRecord[];
}

/** `weft data ledger`: which sequences a run consumed, and when. Reads the run's log, also while it is written. */
export async function dataLedger(context: CommandContext, text: string, options: DataLedgerOptions): Promise<number> {
  const { terminal } = context;
  const isOverview = options.step === undefined && options.sequence === undefined && !options.check;
  const { runId, records, overview } = await withRun(context, text, async ({ run, client }) => {
    // Of a long run the overview does not take every record.
    const overview =
      isOverview && !context.json && client === undefined ? await loadLedgerOverview(context, run.runId) : undefined;
    const records = overview === undefined ? await loadRunRecords(context, run.runId, client) : [];
    return { runId: run.runId, records, overview };
  });
  if (overview !== undefined) {
    printLines(terminal, await renderOverview(runId, overview));
    return EXIT.done;
  }
  const { ledgerRecords, replay } = await coordination();
  const run = { runId, config: replay(records).config, ledger: Ledger.fold(ledgerRecords(records)), records };
  if (options.step !== undefined) await answerStep(context, run, options.step);
  if (options.sequence !== undefined) await answerSequence(context, run, options.sequence);
  if (options.check) return answerCheck(context, run);
  if (isOverview) {
    const { entries, skipped } = run.ledger;
    if (context.json) printJson(terminal, { runId, consumed: consumedSequences(run), entries, skipped });
    else printLines(terminal, await renderOverview(runId, overviewOf(run)));
  }
  return EXIT.done;
}

// The overview of a long run is read in less time than these take to load, and needs neither.
const coordination = () => import('@weft/coordination');
const queries = () => import('../data/ledger-queries.js');

/** `--step`: what did this step consume? */
async function answerStep({ terminal, home, json }: CommandContext, run: RunLedger, step: number): Promise<void> {
  const entry = run.ledger.entryOf(step);
  if (entry === undefined)
    throw new WeftError('not_found', `step ${step} is not in the ledger of ${run.runId}`, {
      hint: `ask for a step from 1 to ${run.ledger.lastStep}`,
    });
  const { stepSequences, withContentsIfThere } = await queries();
  // Without the data set the positions in each source are known, but not which packed sequences they were.
  await withContentsIfThere(run.config, home, async (contents, problem) => {
    const sequences = contents === undefined ? undefined : stepSequences(entry, contents);
    if (json) {
      const numbers = sequences && mapSources(sequences, (each) => each.map(({ sequence }) => sequence));
      const read = sequences === undefined || contents === undefined ? null : await readAll(contents, sequences);
      printJson(terminal, { runId: run.runId, ...entry, sequences: numbers ?? null, contents: read });
      return;
    }
    printLines(terminal, await renderStep(run, entry, sequences));
    if (contents === undefined || sequences === undefined) {
      print(terminal, `\nWhat they hold is not known here: ${problem?.sentence ?? 'there is no data index'}`);
      return;
    }
    await printContents(terminal, contents, sequences);
  });
}

async function renderStep(
  { runId, config }: RunLedger,
  entry: LedgerEntry,
  sequences: PerSource<readonly DatasetSequence[]> | undefined,
): Promise<Line[]> {
  const { describeChange } = await coordination();
  const { step } = entry;
  const ofSources = Object.entries(entry.ranges).map(([source, { first, end }]): [string, string] => {
    if (end === first) return [source, 'none'];
    const positions = `its ${end - first === 1 ? `number ${first}` : `numbers ${first} to ${end - 1}`}`;
    const numbers = sequences && ofSource(sequences, source).map(({ sequence }) => sequence);
    return [source, `${positions}${numbers === undefined ? '' : `: packed sequences ${numbers.join(', ')}`}`];
  });
  const { data, globalBatchSize } = config;
  const stretch = stretchOfStep(scheduleOf(config), globalBatchSize, step, data.skippedBatches);
  return [
    [span(`Step ${step} of ${runId} consumed ${plural(entry.endSequence - entry.firstSequence, 'sequence')}`, 'bold')],
    ...summaryRows([
      ['of the run', `numbers ${entry.firstSequence} to ${entry.endSequence - 1}`],
      ...ofSources,
      ...(data.mixtureChanges.length === 0 ? [] : [['mixture', describeChange(stretch)] as [string, string]]),
      ['generation', `${entry.generation}`],
      ['loss', decimal(entry.loss)],
      [
        'applied',
        entry.applied ? 'yes' : entry.loss === 0 ? 'no, it has no targets' : 'no, its gradients were not finite',
      ],
      ['digest', entry.digest],
    ]),
  ];
}

/** Of all sequences, each with files, keys and text. */
async function readAll(contents: RunContents, sequences: PerSource<readonly DatasetSequence[]>) {
  const read: SequenceContents[] = [];
  for (const [source, each] of Object.entries(sequences))
    for (const { sequence, epoch } of each) read.push(await contents.read(source, sequence, { epoch, names: true }));
  return read;
}

/** Sequences of a step that are shown; `--json` has all of them. */
const SHOWN_SEQUENCES = 64;

async function printContents(
  terminal: Terminal,
  contents: RunContents,
  sequences: PerSource<readonly DatasetSequence[]>,
): Promise<void> {
  const all = Object.entries(sequences).flatMap(([source, each]) => each.map((one) => ({ source, ...one })));
  for (const { source, sequence, epoch } of all.slice(0, SHOWN_SEQUENCES))
    printLines(terminal, [[], ...renderContents(await contents.read(source, sequence, { epoch, names: true }), true)]);
  const more = all.length - SHOWN_SEQUENCES;
  if (more > 0)
    print(terminal, `\nand ${plural(more, 'sequence')} more; --json has all, weft data inspect shows one whole`);
}

/** `--sequence`: when was this sequence consumed, and what does it hold? */
async function answerSequence(context: CommandContext, run: RunLedger, sequence: SequenceName): Promise<void> {
  const { terminal, home, json } = context;
  const { findConsumptions, withRunContents } = await queries();
  await withRunContents(run.config, home, async (contents) => {
    const { source, index } = sequence;
    const isHeldOut = contents.isHeldOut(source, index);
    const consumptions = isHeldOut ? [] : findConsumptions(run.ledger, sequence, contents);
    const read = await contents.read(source, index, { names: true });
    if (json) {
      printJson(terminal, { runId: run.runId, source, sequence: index, isHeldOut, consumptions, contents: read });
      return;
    }
    if (isHeldOut) print(terminal, `${source}:${index} is held out for validation.`);
    else if (consumptions.length === 0) print(terminal, `${source}:${index} has not been consumed by ${run.runId}.`);
    for (const { step, epoch, generation } of consumptions)
      print(terminal, `${source}:${index} was consumed in step ${step} (epoch ${epoch}, generation ${generation}).`);
    printLines(terminal, [[], ...renderContents(read, false)]);
  });
}

/** `--check`: was every sequence consumed exactly once? */
async function answerCheck({ terminal, json }: CommandContext, { runId, ledger, config }: RunLedger): Promise<number> {
  const { findLedgerProblems } = await queries();
  const problems = findLedgerProblems(ledger, config);
  const sequences = ledger.entries.at(-1)?.endSequence ?? 0;
  const skipped = ledger.skipped.reduce((sum, { firstSequence, endSequence }) => sum + endSequence - firstSequence, 0);
  if (json) printJson(terminal, { runId, steps: ledger.lastStep, sequences: sequences - skipped, skipped, problems });
  else if (problems.length === 0)
    print(
      terminal,
      `The ledger is complete: ${plural(ledger.lastStep, 'step')}, ${plural(sequences - skipped, 'sequence')}, each consumed exactly once${skipped === 0 ? '' : `, and ${count(skipped)} skipped`}.`,
    );
  else {
    print(terminal, `The ledger of ${runId} has ${plural(problems.length, 'problem')}:`);
    for (const problem of problems.slice(0, SHOWN_PROBLEMS)) print(terminal, `  ${problem}`);
    if (problems.length > SHOWN_PROBLEMS) print(terminal, `  … and ${count(problems.length - SHOWN_PROBLEMS)} more`);
  }
  return problems.length === 0 ? EXIT.done : EXIT.failed;
}

/** Sequences of each source that a run consumed, in the order of the mixture. */
function consumedSequences({ config, ledger }: RunLedger): PerSource<number> {
  return mapSources(config.data.sources, (_, source) => ledger.consumed(source));
}

/** What is shown of a ledger when nothing particular is asked. */
interface Overview {
  readonly config: Pick<RunConfig, 'data' | 'globalBatchSize'>;
  readonly lastStep: number;
  readonly consumed: PerSource<number>;
  readonly resumes: number;
  /** The last steps or more. */
  readonly recent: readonly LedgerEntry[];
  /** Default: nothing. */
  readonly skipped?: Ledger['skipped'];
}

function overviewOf(run: RunLedger): Overview {
  const { config, ledger, records } = run;
  const resumes = records.filter(({ kind }) => kind === 'resumed').length;
  const { lastStep, entries: recent, skipped } = ledger;
  return { config, lastStep, consumed: consumedSequences(run), resumes, recent, skipped };
}

async function renderOverview(
  runId: string,
  { config, lastStep, resumes, recent, skipped = [], ...overview }: Overview,
): Promise<Line[]> {
  // Of all sources of the run, in the order of the mixture.
  const consumed = mapSources(config.data.sources, (_, source) => overview.consumed[source] ?? 0);
  const all = sum(consumed);
  const { data, globalBatchSize } = config;
  const { describeChange = () => '' } = data.mixtureChanges.length === 0 ? {} : await coordination();
  const planned = sharesBy(scheduleOf(config), globalBatchSize, lastStep, data.skippedBatches);
  const shares = Object.entries(planned).map(([source, share]): [string, string] => [
    source,
    `${count(ofSource(consumed, source))} (its share is ${share.toFixed(1)})`,
  ]);
  return [
    [span(`Ledger of ${runId}`, 'bold')],
    ...summaryRows([
      ['steps', count(lastStep)],
      ['sequences', count(all)],
      ...shares,
      ...data.mixtureChanges.map((change): [string, string] => [
        'mixture',
        `${describeChange(change)} from ${stepName(change.fromBatch, data.skippedBatches)} on`,
      ]),
      ['resumed', resumes === 0 ? 'never' : plural(resumes, 'time')],
      ...skipped.map(({ firstSequence, endSequence }): [string, string] => [
        'skipped',
        `numbers ${firstSequence} to ${endSequence - 1}, because the run diverged with them`,
      ]),
    ]),
    ...(recent.length === 0 ? [] : [[], ...lastSteps(recent.slice(-SHOWN_STEPS), Object.keys(consumed))]),
  ];
}

/** The step that takes a batch, or the first one behind it. */
function stepName(batch: number, skipped: RunConfig['data']['skippedBatches']): string {
  const behind = skipped.find(({ first, end }) => first <= batch && batch < end)?.end ?? batch;
  return `step ${stepOfBatch(behind, skipped)}`;
}

const sum = (values: PerSource<number>) => Object.values(values).reduce((total, value) => total + value, 0);

function lastSteps(entries: readonly LedgerEntry[], sources: readonly SourceId[]): Line[] {
  return table(
    [
      { title: 'step', align: 'right' },
      { title: 'generation', align: 'right' },
      { title: 'sequences' },
      ...sources.map((source) => ({ title: source, align: 'right' }) as const),
      { title: 'loss', align: 'right' },
      { title: 'applied' },
      { title: 'digest' },
    ],
    entries.map(({ step, generation, firstSequence, endSequence, ranges, loss, applied, digest }) => [
      `${step}`,
      `${generation}`,
      `${firstSequence}–${endSequence - 1}`,
      ...sources.map((source) => `${sequencesIn(ofSource(ranges, source))}`),
      decimal(loss),
      applied ? 'yes' : 'no',
      digest.slice(0, 12),
    ]),
  );
}

const sequencesIn = ({ first, end }: { readonly first: number; readonly end: number }) => end - first;
