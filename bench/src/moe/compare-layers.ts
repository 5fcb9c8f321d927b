import { fileURLToPath } from 'node:url';
import { median } from '@weft/common';
import { CandidateProcesses, type Command } from '../candidate-processes.js';
import type { RoundResult } from '../candidate-spec.js';
import { rotated } from '../plan.js';
import { pairedSpeedup } from '../statistics.js';
import { largestDifference } from './fingerprint.js';
import { type LayerCase, type LayerReady, type LayerSpec, moeConfig, type Result } from './layer.js';

/** Ours, and the ways to write the layer in PyTorch. */
export const LAYER_PEERS = ['torch-loop', 'torch-batched', 'torch-compiled'] as const;
export type LayerCandidate = 'weft' | (typeof LAYER_PEERS)[number];

export interface CompareLayersOptions {
  readonly peers: readonly (typeof LAYER_PEERS)[number][];
  readonly python: string;
  readonly fixture: string;
  readonly rounds: number;
  readonly steps: number;
  readonly warmup: number;
  readonly onProgress: (what: string) => void;
}

export interface LayerRow {
  readonly candidate: LayerCandidate;
  readonly engine: string;
  /** Tokens that went through the layer and back. */
  readonly tokensPerSecond: number;
  readonly stepSeconds: number;
  /** Processor seconds over wall seconds. */
  readonly busyCores: number;
  /** How much higher our tokens/s are; undefined for ours. */
  readonly weftSpeedup: ReturnType<typeof pairedSpeedup> | undefined;
  /** The result in which a peer differs most from ours, before anything was timed. */
  readonly difference: { readonly result: Result; readonly difference: number } | undefined;
}

/** Results may differ so much of their length: equal layers, sums in another order. bf16 keeps eight binary digits. */
const TOLERANCE = { fp32: 1e-4, bf16: 3e-2 } as const;

/**
 * Lets every candidate compute the same layer, first once, to compare output and gradients, then round by round.
 * @throws Error when a candidate breaks down or its results are not ours: nothing is timed then
 */
export async function compareLayers(one: LayerCase, options: CompareLayersOptions): Promise<readonly LayerRow[]> {
  const candidates: readonly LayerCandidate[] = ['weft', ...options.peers];
  const runners = candidates.map(
    (candidate) => new Runner(candidate, new CandidateProcesses([commandOf(candidate, one, options)])),
  );
  try {
    for (const runner of runners) {
      options.onProgress(`${runner.candidate} starts`);
      await runner.start();
    }
    const [ours] = runners as [Runner, ...Runner[]];
    const differences = new Map(runners.slice(1).map((peer) => [peer, largestDifference(ours.results, peer.results)]));
    for (const [peer, { result, difference }] of differences) {
      if (difference <= TOLERANCE[one.precision]) continue;
      throw new Error(`${peer.candidate} computes another layer: ${result} differs by ${difference.toExponential(1)}`);
    }
    for (const runner of runners) await runner.runRound(options.warmup);
    for (let round = 0; round < options.rounds; round++) {
      options.onProgress(`round ${round + 1} of ${options.rounds}`);
      for (const runner of rotated(runners, round)) await runner.measure(options.steps);
    }
    for (const runner of runners) await runner.end();
    return runners.map((runner) => runner.row(one, ours, differences.get(runner)));
  } finally {
    for (const runner of runners) runner.kill();
  }
}

class Runner {
  readonly candidate: LayerCandidate;
  readonly #processes: CandidateProcesses;
  #ready: LayerReady | undefined;
  readonly #rounds: number[][] = [];
  #cpuSeconds = 0;

  constructor(candidate: LayerCandidate, processes: CandidateProcesses) {
    this.candidate = candidate;
    this.#processes = processes;
  }

  get results(): LayerReady['results'] {
    if (this.#ready === undefined) throw new Error(`${this.candidate} has not started`);
    return this.#ready.results;
  }

  async start(): Promise<void> {
    [this.#ready] = await this.#processes.receive<LayerReady>();
  }

  async runRound(steps: number): Promise<RoundResult> {
    this.#processes.send({ steps });
    const [result] = await this.#processes.receive<RoundResult>();
    if (result === undefined) throw new Error(`${this.candidate} sent no result`);
    return result;
  }

  /** One step brings caches and threads back after the others ran, then `steps` are measured. */
  async measure(steps: number): Promise<void> {
    await this.runRound(1);
    const { stepSeconds, cpuSeconds } = await this.runRound(steps);
    this.#rounds.push([...stepSeconds]);
    this.#cpuSeconds += cpuSeconds;
  }

  async end(): Promise<void> {
    this.#processes.send({ end: true });
    await this.#processes.exited();
  }

  kill(): void {
    this.#processes.kill();
  }

  row({ size }: LayerCase, ours: Runner, difference: LayerRow['difference']): LayerRow {
    const seconds = this.#rounds.flat();
    const stepSeconds = median(seconds);
    return {
      candidate: this.candidate,
      engine: this.#ready?.engine ?? '',
      tokensPerSecond: size.tokens / stepSeconds,
      stepSeconds,
      busyCores: this.#cpuSeconds / seconds.reduce((sum, each) => sum + each, 0),
      weftSpeedup: this === ours ? undefined : pairedSpeedup(ours.#rounds, this.#rounds),
      difference,
    };
  }
}

const MEASURED_LAYER = fileURLToPath(new URL('./measured-layer.js', import.meta.url));
const TORCH_LAYER = fileURLToPath(new URL('../../peers/torch_moe.py', import.meta.url));

function commandOf(candidate: LayerCandidate, one: LayerCase, { fixture, python }: CompareLayersOptions): Command {
  const { size, precision, threads } = one;
  const mode = candidate.replace('torch-', '');
  const spec: LayerSpec = { size, moe: moeConfig(size), precision, threads, fixture, mode };
  const words = JSON.stringify(spec);
  if (candidate === 'weft') return { program: process.execPath, args: [MEASURED_LAYER, words], environment: {} };
  const environment = {
    OMP_NUM_THREADS: `${threads}`,
    MKL_NUM_THREADS: `${threads}`,
    PYTHONDONTWRITEBYTECODE: '1',
  };
  return { program: python, args: [TORCH_LAYER, words], environment };
}
