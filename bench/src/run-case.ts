import { commandsOf, meansOf, type TeamSpec } from './contestant-commands.js';
import type { Farewell, Hello, Ready, Start, Turn, TurnResult } from './contestant-spec.js';
import { gemmFlops } from './gemm-contestant.js';
import { takenCoreSeconds } from './host-load.js';
import { modelFlops } from './model-flops.js';
import { type BenchCase, type ContestantName, isGemm, isOurs, turnOrder } from './plan.js';
import type { CaseResult, Measurement } from './summary.js';
import { Team } from './team.js';

export interface RunCaseOptions {
  readonly contestants: readonly ContestantName[];
  readonly team: TeamSpec;
  readonly rounds: number;
  readonly steps: number;
  readonly warmup: number;
  /** For what compilers keep between rounds. */
  readonly cacheDirectory: string;
  readonly onProgress: (what: string) => void;
}

/**
 * Runs a case: everybody starts, one after the other; then all take turns, round by round, while the others wait.
 * A peer that breaks down is out and the others go on.
 * @throws Error when ours breaks down
 */
export async function runCase(
  benchCase: BenchCase,
  options: RunCaseOptions,
): Promise<{ measurements: readonly Measurement[]; failures: CaseResult['failures'] }> {
  const failures: { contestant: ContestantName; reason: string }[] = [];
  let running: Runner[] = [];
  const attempt = async (runner: Runner, act: () => Promise<void>) => {
    try {
      await act();
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      runner.kill();
      running = running.filter((each) => each !== runner);
      if (!runner.isPeer) throw new Error(`${runner.contestant} broke down: ${reason}`, { cause: thrown });
      failures.push({ contestant: runner.contestant, reason });
    }
  };
  try {
    for (const contestant of options.contestants) {
      options.onProgress(`${contestant} starts`);
      const commands = await commandsOf(contestant, benchCase, options.team, options.cacheDirectory);
      const runner = new Runner(contestant, benchCase, options.team, new Team(commands));
      running.push(runner);
      await attempt(runner, () => runner.start(options.warmup));
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const runner of turnOrder(running, round)) {
        options.onProgress(`round ${round + 1} of ${options.rounds}: ${runner.contestant}`);
        await attempt(runner, () => runner.takeTurn(options.steps));
      }
    }
    const measurements: Measurement[] = [];
    for (const runner of [...running]) await attempt(runner, async () => void measurements.push(await runner.end()));
    return { measurements, failures };
  } finally {
    for (const runner of running) runner.kill();
  }
}

/** One contestant of a case while it runs. */
class Runner {
  readonly contestant: ContestantName;
  readonly #case: BenchCase;
  readonly #spec: TeamSpec;
  readonly #team: Team;
  #ready: Ready = { engine: '', firstLoss: Number.NaN, secondsToFirstStep: Number.NaN };
  readonly #rounds: number[][] = [];
  readonly #losses: number[] = [];
  #cpuSeconds = 0;
  #wallSeconds = 0;
  #othersSeconds: number | undefined = 0;
  #watchedSeconds = 0;

  constructor(contestant: ContestantName, benchCase: BenchCase, spec: TeamSpec, team: Team) {
    this.contestant = contestant;
    this.#case = benchCase;
    this.#spec = spec;
    this.#team = team;
  }

  get isPeer(): boolean {
    return !isOurs(this.contestant) && this.contestant !== 'gemm';
  }

  /** The first step and the warm-up, neither of them measured. */
  async start(warmup: number): Promise<void> {
    const hellos = await this.#team.hear<Hello>();
    this.#team.tell<Start>({ addresses: hellos.map(({ address }) => address) });
    const ready = await this.#team.hear<Ready>();
    const secondsToFirstStep = Math.max(...ready.map((each) => each.secondsToFirstStep));
    this.#ready = { engine: ready[0]?.engine ?? '', firstLoss: ready[0]?.firstLoss ?? Number.NaN, secondsToFirstStep };
    this.#losses.push(this.#ready.firstLoss);
    if (warmup > 0) this.#losses.push(...(await this.#turn(warmup)).losses);
  }

  /** One step brings caches and threads back from the others' turns, then `steps` are measured. */
  async takeTurn(steps: number): Promise<void> {
    const back = await this.#turn(1);
    const [start, takenBefore] = [performance.now(), takenCoreSeconds()];
    const { stepSeconds, losses, cpuSeconds } = await this.#turn(steps);
    const takenAfter = takenCoreSeconds();
    if (takenBefore === undefined || takenAfter === undefined) this.#othersSeconds = undefined;
    else if (this.#othersSeconds !== undefined) this.#othersSeconds += takenAfter - takenBefore - cpuSeconds;
    this.#watchedSeconds += (performance.now() - start) / 1000;
    this.#losses.push(...back.losses, ...losses);
    this.#rounds.push([...stepSeconds]);
    this.#cpuSeconds += cpuSeconds;
    this.#wallSeconds += stepSeconds.reduce((sum, seconds) => sum + seconds, 0);
  }

  async end(): Promise<Measurement> {
    this.#team.tell({ end: true });
    const farewells = await this.#team.hear<Farewell>();
    await this.#team.left();
    const { processes } = meansOf(this.contestant, this.#case);
    const { model } = this.#spec;
    return {
      contestant: this.contestant,
      engine: this.#ready.engine,
      tokensPerStep: processes * model.batchSize * model.sequenceLength,
      flopsPerStep: isGemm(this.contestant) ? gemmFlops(this.#case.precision) : processes * modelFlops(model),
      rounds: this.#rounds,
      losses: this.#losses,
      busyCores: this.#cpuSeconds / this.#wallSeconds,
      othersCores: this.#othersSeconds && Math.max(0, this.#othersSeconds / this.#watchedSeconds),
      peakBytes: farewells.reduce((sum, { peakBytes }) => sum + peakBytes, 0),
      secondsToFirstStep: this.#ready.secondsToFirstStep,
      profile: farewells[0]?.profile,
    };
  }

  kill(): void {
    this.#team.kill();
  }

  /** A turn of all its processes: the slowest rank's seconds, rank 0's losses, everybody's processor time. */
  async #turn(steps: number): Promise<TurnResult> {
    this.#team.tell<Turn>({ steps });
    const results = await this.#team.hear<TurnResult>();
    const [first] = results;
    return {
      stepSeconds: (first?.stepSeconds ?? []).map((_, i) => Math.max(...results.map((r) => r.stepSeconds[i] ?? 0))),
      losses: first?.losses ?? [],
      cpuSeconds: results.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    };
  }
}
