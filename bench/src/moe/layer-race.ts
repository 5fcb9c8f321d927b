import { fileURLToPath } from 'node:url';
import type { TurnResult } from '../contestant-spec.js';
import { turnOrder } from '../plan.js';
import { median, pairedSpeedup } from '../statistics.js';
import { type Command, Team } from '../team.js';
import { largestDifference } from './fingerprint.js';
import { type LayerCase, moeConfig } from './layer-case.js';
import type { LayerReady, LayerSpec, Result } from './layer-spec.js';

/** Ours, and the ways to write the layer in PyTorch. */
export const LAYER_PEERS = ['torch-loop', 'torch-batched', 'torch-compiled'] as const;
export type LayerContestant = 'weft' | (typeof LAYER_PEERS)[number];

export interface RaceOptions {
  readonly peers: readonly (typeof LAYER_PEERS)[number][];
  readonly python: string;
  readonly fixture: string;
  readonly rounds: number;
  readonly steps: number;
  readonly warmup: number;
  readonly onProgress: (what: string) => void;
}

export interface LayerRow {
  readonly contestant: LayerContestant;
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
 * Lets everybody compute the same layer, first once, to compare output and gradients, then in turns, round by round.
 * @throws Error when a contestant breaks down or its results are not ours: nothing is timed then
 */
export async function raceLayers(one: LayerCase, options: RaceOptions): Promise<readonly LayerRow[]> {
  const contestants: readonly LayerContestant[] = ['weft', ...options.peers];
  const runners = contestants.map(
    (contestant) => new Runner(contestant, new Team([commandOf(contestant, one, options)])),
  );
  try {
    for (const runner of runners) {
      options.onProgress(`${runner.contestant} starts`);
      await runner.start();
    }
    const [ours] = runners as [Runner, ...Runner[]];
    const differences = new Map(runners.slice(1).map((peer) => [peer, largestDifference(ours.results, peer.results)]));
    for (const [peer, { result, difference }] of differences) {
      if (difference <= TOLERANCE[one.precision]) continue;
      throw new Error(`${peer.contestant} computes another layer: ${result} differs by ${difference.toExponential(1)}`);
    }
    for (const runner of runners) await runner.turn(options.warmup);
    for (let round = 0; round < options.rounds; round++) {
      options.onProgress(`round ${round + 1} of ${options.rounds}`);
      for (const runner of turnOrder(runners, round)) await runner.measure(options.steps);
    }
    for (const runner of runners) await runner.end();
    return runners.map((runner) => runner.row(one, ours, differences.get(runner)));
  } finally {
    for (const runner of runners) runner.kill();
  }
}

class Runner {
  readonly contestant: LayerContestant;
  readonly #team: Team;
  #ready: LayerReady | undefined;
  readonly #rounds: number[][] = [];
  #cpuSeconds = 0;

  constructor(contestant: LayerContestant, team: Team) {
    this.contestant = contestant;
    this.#team = team;
  }

  get results(): LayerReady['results'] {
    if (this.#ready === undefined) throw new Error(`${this.contestant} has not started`);
    return this.#ready.results;
  }

  async start(): Promise<void> {
    [this.#ready] = await this.#team.hear<LayerReady>();
  }

  async turn(steps: number): Promise<TurnResult> {
    this.#team.tell({ steps });
    const [result] = await this.#team.hear<TurnResult>();
    if (result === undefined) throw new Error(`${this.contestant} said nothing`);
    return result;
  }

  /** One step brings caches and threads back from the others' turns, then `steps` are measured. */
  async measure(steps: number): Promise<void> {
    await this.turn(1);
    const { stepSeconds, cpuSeconds } = await this.turn(steps);
    this.#rounds.push([...stepSeconds]);
    this.#cpuSeconds += cpuSeconds;
  }

  async end(): Promise<void> {
    this.#team.tell({ end: true });
    await this.#team.left();
  }

  kill(): void {
    this.#team.kill();
  }

  row({ size }: LayerCase, ours: Runner, difference: LayerRow['difference']): LayerRow {
    const seconds = this.#rounds.flat();
    const stepSeconds = median(seconds);
    return {
      contestant: this.contestant,
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

function commandOf(contestant: LayerContestant, one: LayerCase, { fixture, python }: RaceOptions): Command {
  const { size, precision, threads } = one;
  const mode = contestant.replace('torch-', '');
  const spec: LayerSpec = { size, moe: moeConfig(size), precision, threads, fixture, mode };
  const words = JSON.stringify(spec);
  if (contestant === 'weft') return { program: process.execPath, args: [MEASURED_LAYER, words], environment: {} };
  const environment = {
    OMP_NUM_THREADS: `${threads}`,
    MKL_NUM_THREADS: `${threads}`,
    PYTHONDONTWRITEBYTECODE: '1',
  };
  return { program: python, args: [TORCH_LAYER, words], environment };
}
