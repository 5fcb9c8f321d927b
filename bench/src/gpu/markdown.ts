import type { KitResults, PartResult } from './results.js';
import { secondsOf } from './turn.js';

type Measured = Extract<PartResult, { kind: 'agreement' | 'speed' }>;

/** `results.md`: what was checked, what was measured, and what failed. */
export function renderMarkdown(results: KitResults): string {
  const { host, weft, parts, left } = results;
  const all = Object.values(parts);
  const measured = (kind: Measured['kind']) => all.flatMap((part) => (part.kind === kind ? [part as Measured] : []));
  const failures = Object.entries(parts).flatMap(([name, part]) =>
    part.kind === 'failed' ? [[name, part.reason]] : [],
  );
  const faults = all.flatMap((part) => ('check' in part ? part.check.faults : []));
  return [
    `# Weft ${weft} on ${host.gpu?.name ?? 'this processor'}`,
    '',
    describeHost(results),
    ...section('Ops', opsTable(all)),
    ...section('Whole models beside JavaScript', modelsTable(all)),
    ...section('Losses of the same model', agreementTable(measured('agreement'))),
    ...section('Sums and exchanges in the memory of devices', ncclTable(all)),
    ...section('Bare matrix products', gemmTable(all, host.peakTflops)),
    ...section('Training steps', speedTable(measured('speed'), host.peakTflops)),
    ...section(
      'What differs',
      faults.map((sentence) => `- ${sentence}`),
    ),
    ...section(
      'What failed',
      failures.map(([name, reason]) => `- ${name}: ${reason}`),
    ),
    ...section(
      'Not done yet',
      left.map((name) => `- ${name}`),
    ),
    ...section(
      'What is missing here',
      host.missing.map((sentence) => `- ${sentence}`),
    ),
    '',
  ].join('\n');
}

function describeHost({ host: { gpu, python, plugin, peakTflops } }: KitResults): string {
  return [
    gpu && `${gpu.name}, ${gpu.memoryGib.toFixed(0)} GiB, driver ${gpu.driver}`,
    plugin && `plugin ${plugin.version ?? plugin.path} (${plugin.reason})`,
    python && `Python ${python.version}, JAX ${python.jax ?? '–'}, PyTorch ${python.torch ?? '–'}`,
    peakTflops && `peak ${peakTflops} TFLOP/s in bf16`,
  ]
    .filter((each) => each !== undefined)
    .join('; ');
}

const section = (title: string, lines: readonly string[]) =>
  lines.length === 0 ? [] : ['', `## ${title}`, '', ...lines];

function table(titles: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(titles), line(titles.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)];
}

function opsTable(parts: readonly PartResult[]): readonly string[] {
  const rows = parts.flatMap((part) => {
    if (part.kind !== 'ops') return [];
    const { precision, families, tolerance } = part.check;
    return families.map(({ family, fromJavascript, fromJax }) => [
      `${family} ${precision}`,
      small(fromJavascript),
      small(fromJax),
      small(tolerance),
    ]);
  });
  const attention = new Set(parts.flatMap((part) => (part.kind === 'ops' ? part.check.attention : [])));
  const said = attention.size === 0 ? [] : ['', `Attention was computed: ${[...attention].join(', ')}.`];
  const titles = ['greatest difference', 'from JavaScript', 'from JAX', 'allowed'];
  return rows.length === 0 ? [] : [...table(titles, rows), ...said];
}

function modelsTable(parts: readonly PartResult[]): readonly string[] {
  const rows = parts.flatMap((part) => {
    if (part.kind !== 'model') return [];
    return part.check.results.map(({ precision, loss, gradients, moments, worstParameter }) => {
      const worst = `${worstParameter.name}: ${small(worstParameter.difference)}`;
      return [`${part.check.recipe} ${precision}`, small(loss), small(gradients), small(moments), worst];
    });
  });
  return table(['relative difference', 'loss', 'gradients', 'moments', 'worst parameter'], rows);
}

function agreementTable(parts: readonly Measured[]): readonly string[] {
  const rows = parts.map((part) => {
    const ours = parts.find((each) => each.case === part.case && each.precision === part.precision && isOurs(each));
    const losses = part.result.losses;
    const apart = (at: number) => Math.abs((losses.at(at) ?? Number.NaN) - (ours?.result.losses[at] ?? Number.NaN));
    const last = Math.min(losses.length, ours?.result.losses.length ?? 0) - 1;
    const differences = ours === undefined || ours === part ? ['', ''] : [small(apart(0)), small(apart(last))];
    return [`${part.case} ${part.precision}`, part.candidate, (losses[0] ?? Number.NaN).toFixed(5), ...differences];
  });
  return table(['model', 'candidate', 'first loss', 'first loss − ours', 'last loss − ours'], rows);
}

function ncclTable(parts: readonly PartResult[]): readonly string[] {
  const rows = parts.flatMap((part) => {
    if (part.kind !== 'nccl') return [];
    const { library, processes, bytes, gigabytesPerSecond, faults } = part.check;
    const verdict = faults.length === 0 ? 'agree' : 'differ';
    return [[library, `${processes}`, (bytes / 2 ** 20).toFixed(0), gigabytesPerSecond.toFixed(1), verdict]];
  });
  return table(['library', 'processes', 'MiB', 'GB/s of a sum', 'numbers'], rows);
}

const isOurs = ({ candidate }: Measured) => candidate === 'weft';

function gemmTable(parts: readonly PartResult[], peakTflops: number | undefined): readonly string[] {
  const rows = parts.flatMap((part) => {
    if (part.kind !== 'gemm') return [];
    const tflops = part.result.flopsPerStep / secondsOf(part.result) / 1e12;
    return [[part.candidate === 'gemm' ? 'Weft' : 'PyTorch', tflops.toFixed(1), share(tflops, peakTflops)]];
  });
  return table(['bf16', 'TFLOP/s', 'of peak'], rows);
}

function speedTable(parts: readonly Measured[], peakTflops: number | undefined): readonly string[] {
  const rows = parts.map((part) => {
    const { result, candidate, model, turn } = part;
    const ours = parts.find((each) => each.case === part.case && each.turn === turn && isOurs(each));
    const seconds = secondsOf(result);
    const tflops = result.flopsPerStep / seconds / 1e12;
    return [
      `${part.case} ${turn}`,
      candidate,
      (result.tokensPerStep / seconds).toFixed(0),
      (1e3 * seconds).toFixed(1),
      tflops.toFixed(1),
      share(tflops, peakTflops),
      result.peakDeviceBytes === undefined ? '' : (result.peakDeviceBytes / 2 ** 30).toFixed(1),
      result.compileSeconds?.toFixed(0) ?? '',
      result.secondsToFirstStep.toFixed(0),
      ours === undefined || ours === part ? '' : (seconds / secondsOf(ours.result)).toFixed(2),
      ours === undefined || ours === part ? '' : small(firstLossesApart(part, ours)),
      `${model.batchSize} × ${model.sequenceLength}, recompute ${model.recompute}`,
    ];
  });
  const titles = [
    'case, turn',
    'candidate',
    'tokens/s',
    'ms',
    'TFLOP/s',
    'MFU',
    'peak GiB',
    'compile s',
    's to step 1',
  ];
  const found = table([...titles, 'weft ×', 'first loss − ours', 'step'], rows);
  const formula = [
    '',
    'MFU = model FLOPs of a step / seconds of a step / peak of the chip in dense bf16. Model FLOPs count matrix products and',
    'attention, the backward pass twice the forward pass, without a discount for the causal mask and without recomputation',
    '(PaLM, appendix B). Seconds are medians; “weft ×” is Weft’s speed over the candidate’s in the same turn.',
  ];
  return found.length === 0 ? [] : [...found, ...formula];
}

/** The first loss shows that the models are equal. */
const firstLossesApart = (part: Measured, ours: Measured) =>
  Math.abs((part.result.losses[0] ?? Number.NaN) - (ours.result.losses[0] ?? Number.NaN));

const share = (tflops: number, peak: number | undefined) =>
  peak === undefined ? '' : `${((100 * tflops) / peak).toFixed(1)} %`;

const small = (difference: number | undefined) => (difference === undefined ? '' : difference.toExponential(1));
