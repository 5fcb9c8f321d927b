import type { OpProfile } from './candidate-spec.js';
import type { BenchCase } from './plan.js';
import { type CaseResult, LOSS_TOLERANCE, type Row } from './summary.js';

/** "decoder-5m fp32, 1 thread" */
export function describeCase({ model, precision, threads, processes }: BenchCase): string {
  const each = `${threads} thread${threads === 1 ? '' : 's'}`;
  return `${model} ${precision}, ${processes === 1 ? each : `${processes} processes of ${each}`}`;
}

/** A matrix product that gets a smaller part of its cores than this runs beside something else. */
const QUIET = 0.9;
/** So much of a core may others have, such as the system's own chores. */
const CHORES = 0.1;

/** One table over all cases. The columns MFU, "products ×" and "weft ×" are there when there is something to put into them. */
export function renderResults(results: readonly CaseResult[]): string {
  const rows = results.flatMap((result) => result.rows.map((row) => ({ result, row })));
  const columns = COLUMNS.filter(({ isWanted }) => isWanted === undefined || rows.some(({ row }) => isWanted(row)));
  const cells = rows.map(({ result, row }) => columns.map(({ cell }) => cell(row, result)));
  const table = formatTable(columns, cells);
  return [table, ...results.flatMap(remarks), ...leasts(results)].join('\n');
}

/** In which case ours is the slowest, beside ours of another checkout and ours with the usual forms. */
function leasts(results: readonly CaseResult[]): string[] {
  return (['weft-before', 'weft-fixed'] as const).flatMap((candidate) => {
    const ratios = results.flatMap((result) =>
      result.rows
        .filter((row) => row.candidate === candidate)
        .map(({ weftSpeedup }) => ({ name: describeCase(result.case), ratio: weftSpeedup?.median ?? Number.NaN })),
    );
    const [least] = ratios.toSorted((a, b) => a.ratio - b.ratio);
    if (least === undefined) return [];
    return [`least ratio to ${candidate} in ${ratios.length} cases: ${least.ratio.toFixed(3)} (${least.name})`];
  });
}

interface ResultColumn extends Column {
  readonly cell: (row: Row, result: CaseResult) => string;
  readonly isWanted?: (row: Row) => boolean;
}

const left = (title: string, cell: ResultColumn['cell']): ResultColumn => ({ title, align: 'left', cell });
const right = (title: string, cell: ResultColumn['cell']): ResultColumn => ({ title, align: 'right', cell });

const COLUMNS: readonly ResultColumn[] = [
  left('model', (_, result) => result.case.model),
  left('precision', (_, result) => result.case.precision),
  left('threads', (row, { case: { processes, threads } }) =>
    processes === 1 || row.candidate === 'weft-alone' ? `${threads}` : `${processes}×${threads}`,
  ),
  left('candidate', (row) => row.candidate),
  right('tokens/s', (row) => row.tokensPerSecond.toFixed(0)),
  right('GFLOP/s', (row) => (row.modelFlopsPerSecond / 1e9).toFixed(1)),
  right('of GEMM peak', (row) => percent(row.shareOfGemmPeak)),
  {
    ...right('MFU', (row) => (row.mfu === undefined ? '' : percent(row.mfu))),
    isWanted: ({ mfu }) => mfu !== undefined,
  },
  right('peak MiB', (row) => (row.peakBytes / 2 ** 20).toFixed(0)),
  right('s to step 1', (row) => row.secondsToFirstStep.toFixed(1)),
  right('busy cores', (row) => row.busyCores.toFixed(2)),
  {
    ...right('products ×', (row) => row.productsSpeedup?.toFixed(2) ?? ''),
    isWanted: ({ productsSpeedup }) => productsSpeedup !== undefined,
  },
  {
    ...right('weft ×', (row) => row.weftSpeedup?.median.toFixed(2) ?? ''),
    isWanted: ({ weftSpeedup }) => weftSpeedup !== undefined,
  },
];

function remarks(result: CaseResult): string[] {
  const name = describeCase(result.case);
  const agreements = result.agreement.map(({ candidate, firstLossDifference, steps, lastLossDifference, isEqual }) => {
    const first = `${name}: first loss of ${candidate} differs by ${small(firstLossDifference)}`;
    const last = steps > 1 ? `, loss of step ${steps} by ${small(lastLossDifference)}` : '';
    return isEqual ? `${first}${last}` : `${first}, more than ${LOSS_TOLERANCE}: THE MODELS ARE NOT EQUAL`;
  });
  const failures = result.failures.map(({ candidate, reason }) => `${name}: ${candidate} broke down: ${reason}`);
  const { gemmFlopsPerSecond: peak, torchGemmFlopsPerSecond: torchPeak } = result;
  const ofTorch = torchPeak === undefined ? '' : `, of PyTorch ${(torchPeak / 1e9).toFixed(0)}`;
  return [
    `${name}: GEMM peak ${(peak / 1e9).toFixed(0)} GFLOP/s${ofTorch}`,
    ...noise(result).map((what) => `${name}: THE MACHINE WAS BUSY, ${what}`),
    ...forms(result).map((what) => `${name}: ${what}`),
    ...agreements,
    ...failures,
  ];
}

/** Which products have another form than the usual one. */
function forms({ forms: chosen }: CaseResult): string[] {
  if (chosen === undefined || chosen.timed === 0) return [];
  const others = chosen.others.map(({ product, form, speedup }) => `${product} ${form} ${speedup.toFixed(2)} ×`);
  const each = others.length === 0 ? '' : `: ${others.join(', ')}`;
  return [`${others.length} of ${chosen.timed} timed products in another form than usual${each}`];
}

/** What others did to the measurement, if they did. */
function noise({ case: { threads, processes }, gemmBusyCores, backgroundCores }: CaseResult): string[] {
  const cores = threads * processes;
  const starved = `matrix products had ${gemmBusyCores.toFixed(2)} of ${cores} cores`;
  const { mean = 0, worst = 0 } = backgroundCores ?? {};
  const others = `others had ${mean.toFixed(2)} cores on average, ${worst.toFixed(2)} while one candidate ran`;
  return [...(gemmBusyCores < QUIET * cores ? [starved] : []), ...(worst > CHORES ? [others] : [])];
}

/** The types of ops by time, those under a thousandth of the step left out. */
export function renderProfile(benchCase: BenchCase, stepSeconds: number, profile: readonly OpProfile[]): string {
  const opMs = profile.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const shown = profile.filter(({ milliseconds }) => milliseconds > opMs / 1000);
  const columns: readonly Column[] = [
    { title: 'phase', align: 'left' },
    { title: 'op', align: 'left' },
    { title: 'ms/step', align: 'right' },
    { title: 'share', align: 'right' },
    { title: 'ops', align: 'right' },
  ];
  const rows = shown.map(({ phase, type, milliseconds, count }) => [
    phase,
    type,
    milliseconds.toFixed(2),
    percent(milliseconds / opMs),
    count.toFixed(0),
  ]);
  const total = `${describeCase(benchCase)}: ops ${opMs.toFixed(1)} ms of a traced step's ${(stepSeconds * 1e3).toFixed(1)} ms`;
  return `${total}\n${formatTable(columns, rows)}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

function small(difference: number): string {
  return difference.toExponential(1);
}

/** A column: its title, and whether its cells are numbers, which stand right. */
export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

/** Lays rows out in columns two blanks apart, titles first. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? '').length)));
  return lines
    .map((line) =>
      columns
        .map(({ align }, at) => {
          const cell = line[at] ?? '';
          return align === 'right' ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
