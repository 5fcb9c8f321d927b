import { createProgram, mustBe, readOptions, UsageError, wholeNumber } from '@weft/command-line';
import { WeftError } from '@weft/common';
import { DISASTERS, type Disaster, type ScenarioLine, simulateScenario } from './scenario.js';

const KINDS = Object.keys(DISASTERS) as readonly Disaster['kind'][];

/** What the program below reads. */
interface GivenOptions {
  readonly workers: number;
  readonly steps: number;
  readonly every: number;
  readonly attempts: number;
  readonly seed: number;
  /** Percent. */
  readonly chaos: number;
  readonly quiet?: true;
  readonly json?: true;
}

/** @returns the exit code: 0 when the run finished, 1 when it did not. */
function main(argv: readonly string[]): number {
  const given: Disaster[] = [];
  const program = createProgram('node packages/simulation/dist/main.js', process.stdout)
    .description(
      "Simulates one run on a cluster: the coordinator's real decisions, workers that only pretend to train, and a clock " +
        "that costs no time. Prints one line for everything the run's log records, and a summary.",
    )
    .option('--workers <n>', 'workers, and ranks of the run', wholeNumber(1, 1000), 4)
    .option('--steps <n>', 'steps of the run', wholeNumber(1, 1_000_000), 100)
    .option('--every <n>', 'steps between checkpoints', wholeNumber(1, 1_000_000), 20)
    .option('--attempts <n>', 'how often the run may be tried', wholeNumber(1, 1000), 1)
    .option('--seed <n>', 'order of messages, and random disasters', wholeNumber(0, 2 ** 32 - 1), 0)
    .option('--chaos <percent>', 'chance of a random disaster in every round', wholeNumber(0, 100), 0)
    .option('--quiet', 'leave out the lines of committed steps')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
A list says when: "40" is after step 40, "2@40" is worker 2 after step 40 (worker 0 without a number), "10,2@40" is both.

  node packages/simulation/dist/main.js --workers 3 --steps 30 --kill 1@12 --restart 20`,
    );
  for (const kind of KINDS)
    program.option(`--${kind} <list>`, DISASTERS[kind], (list) => given.push(...readDisasters(kind, list)));
  const options = readOptions<GivenOptions>(program, argv);
  if (options === undefined) return 0;
  const { workers, steps, every, attempts, seed, chaos, quiet, json } = options;
  const disasters = KINDS.flatMap((kind) => given.filter((disaster) => disaster.kind === kind));
  const print = (value: object, text: string) =>
    process.stdout.write(`${json === true ? JSON.stringify(value) : text}\n`);
  const printLine = (line: ScenarioLine) => {
    if (quiet !== true || line.kind !== 'committed') print(line, `${seconds(line.timeMs).padStart(9)}  ${line.text}`);
  };
  const result = simulateScenario(
    { workers, steps, checkpointEverySteps: every, maxAttempts: attempts, seed, chaos: chaos / 100, disasters },
    printLine,
  );
  const { status, step, timeMs, generations, workersLost, stepsLost, checkpointsWritten, reason } = result;
  print(
    { kind: 'summary', ...result },
    `\n${status} at step ${step} of ${steps} after ${seconds(timeMs)}: ${generations} generations, ${workersLost} workers lost, ` +
      `${stepsLost} steps trained again, ${checkpointsWritten} checkpoints written\n${reason}`,
  );
  return status === 'finished' ? 0 : 1;
}

function readDisasters(kind: Disaster['kind'], list: string): Disaster[] {
  return list.split(',').flatMap((text) => {
    if (text === '') return [];
    const [, worker = '0', step] = /^(?:(\d{1,4})@)?(\d{1,7})$/.exec(text) ?? [];
    if (step === undefined) throw mustBe('steps like 40 or 2@40');
    return [{ kind, step: Number(step), worker: Number(worker) }];
  });
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (thrown) {
  const { sentence } = WeftError.from(thrown);
  process.stderr.write(`${sentence}\n`);
  process.exitCode = thrown instanceof UsageError ? thrown.exitCode : 1;
}
