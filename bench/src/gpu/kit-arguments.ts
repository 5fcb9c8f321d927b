import type { Recompute } from '@weft/tensor';
import { choices, parse, positive, wholeNumber } from '../arguments.js';
import { GPU_CASES } from './gpu-models.js';
import type { Host } from './host.js';
import { GPU_CANDIDATES, type GpuCandidate } from './turn.js';

/** What the kit can do, in the order in which it is done. */
export const SECTIONS = ['ops', 'models', 'agreement', 'nccl', 'gemm', ...GPU_CASES] as const;
export type Section = (typeof SECTIONS)[number];

const RECOMPUTE: readonly Recompute[] = ['none', 'selective', 'full'];
/** Seconds after which nothing new is begun: what is under way then ends before ten minutes are over. */
const BUDGET_SECONDS = 540;

export const KIT_USAGE = `checks Weft's lowering on this GPU, and measures training steps beside PyTorch and JAX

  --only LIST          of ${SECTIONS.join(', ')} (default: all)
  --candidates LIST    of ${GPU_CANDIDATES.join(', ')} (default: all that Python has)
  --budget N           seconds for this call (default: ${BUDGET_SECONDS}); run it again to go on
  --turns N            times that every candidate of a case is started and measured (default: 2)
  --steps N            measured steps of a turn (default: as many as take some seconds)
  --batch N            sequences of a step (default: by model and memory)
  --recompute HOW      of ${RECOMPUTE.join(', ')} (default: by model and memory)
  --peak-tflops N      the chip's peak in dense bf16, for the column MFU (default: by its name)
  --variants N         random shapes of every family of ops (default: 4)
  --out FOLDER         for results.json and results.md (default: results)
  --fresh              forget what the folder has, and measure everything anew
  --retry              try again what failed in an earlier call
  --device DEVICE      gpu or cpu (default: gpu)
  --small              shapes for CPUs: shows that the kit works, not how fast anything is
  --help

WEFT_BENCH_PYTHON names the Python that has torch and jax (default: python3), WEFT_PJRT_PLUGIN a plugin other than JAX's.`;

export interface KitOptions {
  readonly only: readonly Section[];
  readonly candidates: readonly GpuCandidate[];
  readonly budgetSeconds: number;
  readonly turns: number;
  readonly steps: number | undefined;
  readonly batchSize: number | undefined;
  readonly recompute: Recompute | undefined;
  readonly peakTflops: number | undefined;
  readonly variants: number;
  readonly out: string;
  readonly fresh: boolean;
  readonly retry: boolean;
  readonly device: Host['device'];
  readonly isSmall: boolean;
  readonly help: boolean;
}

/** @throws WeftError `invalid_argument` naming the option, the value and what it may be. */
export function parseKitArguments(words: readonly string[]): KitOptions {
  const values = parse(words, {
    only: { type: 'string' },
    candidates: { type: 'string' },
    budget: { type: 'string', default: `${BUDGET_SECONDS}` },
    turns: { type: 'string', default: '2' },
    steps: { type: 'string' },
    batch: { type: 'string' },
    recompute: { type: 'string' },
    'peak-tflops': { type: 'string' },
    variants: { type: 'string', default: '4' },
    out: { type: 'string', default: 'results' },
    fresh: { type: 'boolean', default: false },
    retry: { type: 'boolean', default: false },
    device: { type: 'string', default: 'gpu' },
    small: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  const peak = values['peak-tflops'];
  const [device = 'gpu'] = choices('--device', values.device, ['gpu', 'cpu'] as const);
  return {
    only: choices('--only', values.only, SECTIONS),
    candidates: choices('--candidates', values.candidates, GPU_CANDIDATES),
    budgetSeconds: wholeNumber('--budget', values.budget, 1),
    turns: wholeNumber('--turns', values.turns, 1),
    steps: values.steps === undefined ? undefined : wholeNumber('--steps', values.steps, 1),
    batchSize: values.batch === undefined ? undefined : wholeNumber('--batch', values.batch, 1),
    recompute: values.recompute === undefined ? undefined : choices('--recompute', values.recompute, RECOMPUTE)[0],
    peakTflops: peak === undefined ? undefined : positive('--peak-tflops', peak),
    variants: wholeNumber('--variants', values.variants, 1),
    out: values.out,
    fresh: values.fresh,
    retry: values.retry,
    device,
    isSmall: values.small,
    help: values.help,
  };
}
