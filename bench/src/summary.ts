import { median } from '@weft/common';
import type { OpProfile } from './candidate-spec.js';
import type { ChosenForms } from './chosen-forms.js';
import { type BenchCase, type CandidateName, isGemm, isOurs } from './plan.js';
import { pairedSpeedup } from './statistics.js';

/** What was seen of one candidate of a case. */
export interface Measurement {
  readonly candidate: CandidateName;
  readonly engine: string;
  /** Sequences·positions of one step, over all its processes. */
  readonly tokensPerStep: number;
  /** Floating point operations of one step, over all its processes. */
  readonly flopsPerStep: number;
  /** Seconds of every measured step, by round; with several processes, of the slowest. */
  readonly rounds: readonly (readonly number[])[];
  /** The loss of every step from the very first, warm-up included. */
  readonly losses: readonly number[];
  /** Processor seconds over wall seconds, all processes together. */
  readonly busyCores: number;
  /** Cores that other processes used during its rounds; undefined where the system does not report it. */
  readonly backgroundCores: number | undefined;
  /** Peak resident memory, all processes together. */
  readonly peakBytes: number;
  readonly secondsToFirstStep: number;
  readonly profile: readonly OpProfile[] | undefined;
}

/** A candidate's result. */
export interface Row {
  readonly candidate: CandidateName;
  readonly engine: string;
  readonly tokensPerSecond: number;
  readonly modelFlopsPerSecond: number;
  /** Model FLOP/s over the FLOP/s of a large matrix product on the same threads and in the same precision. */
  readonly shareOfGemmPeak: number;
  /** Model FLOP/s over the chip's peak as given. */
  readonly mfu: number | undefined;
  readonly peakBytes: number;
  readonly secondsToFirstStep: number;
  readonly busyCores: number;
  readonly firstLoss: number;
  /** How much faster a bare product of ours is than of the library below this peer; undefined for all but PyTorch. */
  readonly productsSpeedup: number | undefined;
  /** How much higher our tokens/s are; undefined for ours. */
  readonly weftSpeedup: ReturnType<typeof pairedSpeedup> | undefined;
}

export interface CaseResult {
  readonly case: BenchCase;
  /** Of large matrix products through our engine, on all threads of the case. */
  readonly gemmFlopsPerSecond: number;
  /** The same in PyTorch: where the two differ, so do the libraries below, and the ratios with them. */
  readonly torchGemmFlopsPerSecond: number | undefined;
  /** Cores that those products had, of the case's threads: fewer when others used the machine. */
  readonly gemmBusyCores: number;
  /** Cores that other processes used while a candidate was measured, on average over the candidates; the worst of them. */
  readonly backgroundCores: { readonly mean: number; readonly worst: number } | undefined;
  readonly rows: readonly Row[];
  readonly agreement: readonly Agreement[];
  /** The forms of the products of ours; absent where nothing was timed. */
  readonly forms?: ChosenForms;
  /** Candidates that broke down, and how. */
  readonly failures: readonly { readonly candidate: CandidateName; readonly reason: string }[];
}

/** Whether a peer's model is ours: same weights and batch give the same loss. */
export interface Agreement {
  readonly candidate: CandidateName;
  readonly firstLossDifference: number;
  /** The step after which the last losses are compared, and their difference: the optimizers are equal, too. */
  readonly steps: number;
  readonly lastLossDifference: number;
  readonly isEqual: boolean;
}

/** First losses may differ so much: the models are equal, the order of sums is not. */
export const LOSS_TOLERANCE = 1e-3;

export function summarise(
  benchCase: BenchCase,
  measurements: readonly Measurement[],
  failures: CaseResult['failures'],
  chipTflops: number | undefined,
): CaseResult {
  const ours = find(measurements, 'weft');
  const gemm = find(measurements, 'gemm');
  const gemmFlopsPerSecond = gemmPeak(gemm);
  const torchGemm = measurements.find(({ candidate }) => candidate === 'torch-gemm');
  const trained = measurements.filter(({ candidate }) => !isGemm(candidate));
  const torchGemmFlopsPerSecond = torchGemm && gemmPeak(torchGemm);
  return {
    case: benchCase,
    gemmFlopsPerSecond,
    torchGemmFlopsPerSecond,
    gemmBusyCores: gemm.busyCores,
    backgroundCores: backgroundCores(measurements),
    rows: trained.map((each) => {
      const row = toRow(each, ours, benchCase, gemmFlopsPerSecond, chipTflops);
      const isTorch = each.candidate.startsWith('torch-') && torchGemmFlopsPerSecond !== undefined;
      return { ...row, productsSpeedup: isTorch ? gemmFlopsPerSecond / torchGemmFlopsPerSecond : undefined };
    }),
    agreement: trained.filter(({ candidate }) => !isOurs(candidate)).map((theirs) => compareLosses(ours, theirs)),
    failures,
  };
}

function backgroundCores(measurements: readonly Measurement[]): CaseResult['backgroundCores'] {
  const all = measurements.flatMap(({ backgroundCores }) => backgroundCores ?? []);
  if (all.length === 0) return undefined;
  return { mean: all.reduce((sum, each) => sum + each, 0) / all.length, worst: Math.max(...all) };
}

/** FLOP/s of the fastest product of each round, the peak of its moment; their median. */
function gemmPeak({ flopsPerStep, rounds }: Measurement): number {
  return flopsPerStep / median(rounds.map((seconds) => Math.min(...seconds)));
}

function toRow(
  measurement: Measurement,
  ours: Measurement,
  { processes }: BenchCase,
  gemmFlopsPerSecond: number,
  chipTflops: number | undefined,
): Omit<Row, 'productsSpeedup'> {
  const { candidate, engine, tokensPerStep, flopsPerStep, peakBytes, secondsToFirstStep, busyCores } = measurement;
  const stepSeconds = median(measurement.rounds.flat());
  const modelFlopsPerSecond = flopsPerStep / stepSeconds;
  // The peak is that of all the case's threads; a process alone has its part of them.
  const peak = candidate === 'weft-alone' ? gemmFlopsPerSecond / processes : gemmFlopsPerSecond;
  return {
    candidate,
    engine,
    tokensPerSecond: tokensPerStep / stepSeconds,
    modelFlopsPerSecond,
    shareOfGemmPeak: modelFlopsPerSecond / peak,
    mfu: chipTflops === undefined ? undefined : modelFlopsPerSecond / (chipTflops * 1e12),
    peakBytes,
    secondsToFirstStep,
    busyCores,
    firstLoss: measurement.losses[0] ?? Number.NaN,
    weftSpeedup: candidate === 'weft' ? undefined : speedup(ours, measurement),
  };
}

/** In tokens, so that more processes count for what they do. */
function speedup(ours: Measurement, theirs: Measurement): ReturnType<typeof pairedSpeedup> {
  const { median, lowest, highest } = pairedSpeedup(ours.rounds, theirs.rounds);
  const work = ours.tokensPerStep / theirs.tokensPerStep;
  return { median: median * work, lowest: lowest * work, highest: highest * work };
}

function compareLosses(ours: Measurement, theirs: Measurement): Agreement {
  // DDP reports the loss of all ranks only at the first step.
  const steps = theirs.candidate === 'torch-ddp' ? 1 : Math.min(ours.losses.length, theirs.losses.length);
  const difference = (step: number) =>
    Math.abs((ours.losses[step - 1] ?? Number.NaN) - (theirs.losses[step - 1] ?? Number.NaN));
  return {
    candidate: theirs.candidate,
    firstLossDifference: difference(1),
    steps,
    lastLossDifference: difference(steps),
    isEqual: difference(1) <= LOSS_TOLERANCE,
  };
}

function find(measurements: readonly Measurement[], name: CandidateName): Measurement {
  const found = measurements.find(({ candidate }) => candidate === name);
  if (found === undefined) throw new Error(`${name} was not measured`);
  return found;
}
