import { CandidateProcesses } from './candidate-processes.js';
import type { Addresses, FinalReport, Hello, Ready, Round, RoundResult } from './candidate-spec.js';
import { type CommandOptions, commandsOf, resourcesOf, type SharedSpec } from './candidates.js';
import { gemmFlops } from './gemm-candidate.js';
import { busyCoreSeconds } from './machine.js';
import { modelFlops } from './model-flops.js';
import { type BenchCase, type CandidateName, isGemm, isOurs, rotated } from './plan.js';
import type { CaseResult, Measurement } from './summary.js';

export interface CompareStepsOptions extends CommandOptions {
  readonly candidates: readonly CandidateName[];
  readonly rounds: number;
  readonly steps: number;
  readonly warmup: number;
  readonly onProgress: (what: string) => void;
}

/**
 * Runs a case: every candidate starts, one after the other; then each runs its steps of every round while the others wait.
 * A peer that breaks down is out and the others go on.
 * @throws Error when ours breaks down
 */
export async function compareSteps(
  benchCase: BenchCase,
  options: CompareStepsOptions,
): Promise<{ measurements: readonly Measurement[]; failures: CaseResult['failures'] }> {
  const failures: { candidate: CandidateName; reason: string }[] = [];
  let running: Runner[] = [];
  const attempt = async (runner: Runner, act: () => Promise<void>) => {
    try {
      await act();
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      runner.kill();
      running = running.filter((each) => each !== runner);
      if (!runner.isPeer) throw new Error(`${runner.candidate} broke down: ${reason}`, { cause: thrown });
      failures.push({ candidate: runner.candidate, reason });
    }
  };
  try {
    for (const candidate of options.candidates) {
      options.onProgress(`${candidate} starts`);
      const commands = await commandsOf(candidate, benchCase, options);
      const runner = new Runner(candidate, benchCase, options.shared, new CandidateProcesses(commands));
      running.push(runner);
      await attempt(runner, () => runner.start(options.warmup));
    }
    for (let round = 0; round < options.rounds; round++) {
      for (const runner of rotated(running, round)) {
        options.onProgress(`round ${round + 1} of ${options.rounds}: ${runner.candidate}`);
        await attempt(runner, () => runner.measure(options.steps));
      }
    }
    const measurements: Measurement[] = [];
    for (const runner of [...running]) await attempt(runner, async () => void measurements.push(await runner.end()));
    return { measurements, failures };
  } finally {
    for (const runner of running) runner.kill();
  }
}

/** One candidate of a case while it runs. */
class Runner {
  readonly candidate: CandidateName;
  readonly #case: BenchCase;
  readonly #spec: SharedSpec;
  readonly #processes: CandidateProcesses;
  #ready: Ready = { engine: '', firstLoss: Number.NaN, secondsToFirstStep: Number.NaN };
  readonly #rounds: number[][] = [];
  readonly #losses: number[] = [];
  #cpuSeconds = 0;
  #wallSeconds = 0;
  #othersSeconds: number | undefined = 0;
  #watchedSeconds = 0;

  constructor(candidate: CandidateName, benchCase: BenchCase, spec: SharedSpec, processes: CandidateProcesses) {
    this.candidate = candidate;
    this.#case = benchCase;
    this.#spec = spec;
    this.#processes = processes;
  }

  get isPeer(): boolean {
    return !isOurs(this.candidate) && this.candidate !== 'gemm';
  }

  /** The first step and the warm-up, neither of them measured. */
  async start(warmup: number): Promise<void> {
    const hellos = await this.#processes.receive<Hello>();
    this.#processes.send<Addresses>({ addresses: hellos.map(({ address }) => address) });
    const ready = await this.#processes.receive<Ready>();
    const secondsToFirstStep = Math.max(...ready.map((each) => each.secondsToFirstStep));
    this.#ready = { engine: ready[0]?.engine ?? '', firstLoss: ready[0]?.firstLoss ?? Number.NaN, secondsToFirstStep };
    this.#losses.push(this.#ready.firstLoss);
    if (warmup > 0) this.#losses.push(...(await this.#runRound(warmup)).losses);
  }

  /** One step brings caches and threads back after the others ran, then `steps` are measured. */
  async measure(steps: number): Promise<void> {
    const back = await this.#runRound(1);
    const [start, takenBefore] = [performance.now(), busyCoreSeconds()];
    const { stepSeconds, losses, cpuSeconds } = await this.#runRound(steps);
    const takenAfter = busyCoreSeconds();
    if (takenBefore === undefined || takenAfter === undefined) this.#othersSeconds = undefined;
    else if (this.#othersSeconds !== undefined) this.#othersSeconds += takenAfter - takenBefore - cpuSeconds;
    this.#watchedSeconds += (performance.now() - start) / 1000;
    this.#losses.push(...back.losses, ...losses);
    this.#rounds.push([...stepSeconds]);
    this.#cpuSeconds += cpuSeconds;
    this.#wallSeconds += stepSeconds.reduce((sum, seconds) => sum + seconds, 0);
  }

  async end(): Promise<Measurement> {
    this.#processes.send({ end: true });
    const farewells = await this.#processes.receive<FinalReport>();
    await this.#processes.exited();
    const { processes } = resourcesOf(this.candidate, this.#case);
    const { model } = this.#spec;
    return {
      candidate: this.candidate,
      engine: this.#ready.engine,
      tokensPerStep: processes * model.batchSize * model.sequenceLength,
      flopsPerStep: isGemm(this.candidate) ? gemmFlops(this.#case.precision) : processes * modelFlops(model),
      rounds: this.#rounds,
      losses: this.#losses,
      busyCores: this.#cpuSeconds / this.#wallSeconds,
      backgroundCores: this.#othersSeconds && Math.max(0, this.#othersSeconds / this.#watchedSeconds),
      peakBytes: farewells.reduce((sum, { peakBytes }) => sum + peakBytes, 0),
      secondsToFirstStep: this.#ready.secondsToFirstStep,
      profile: farewells[0]?.profile,
    };
  }

  kill(): void {
    this.#processes.kill();
  }

  /** One round on all its processes: the slowest rank's seconds, rank 0's losses, the processor time of all. */
  async #runRound(steps: number): Promise<RoundResult> {
    this.#processes.send<Round>({ steps });
    const results = await this.#processes.receive<RoundResult>();
    const [first] = results;
    return {
      stepSeconds: (first?.stepSeconds ?? []).map((_, i) => Math.max(...results.map((r) => r.stepSeconds[i] ?? 0))),
      losses: first?.losses ?? [],
      cpuSeconds: results.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    };
  }
}
