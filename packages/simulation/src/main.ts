import { parseFlags, UsageError, WeftError, wholeNumberFlag } from '@weft/common';
import { DISASTERS, type Disaster, type Scenario, type ScenarioLine, simulateScenario } from './scenario.js';

const HELP = `Usage: node packages/simulation/dist/main.js [options]

Simulates one run on a cluster: the coordinator's real decisions, workers that only pretend to train, and a clock that
costs no time. Prints one line for everything the run's log records, and a summary.

Options:
  --workers <n>         workers, and ranks of the run (default: 4)
  --steps <n>           steps of the run (default: 100)
  --every <n>           steps between checkpoints (default: 20)
  --attempts <n>        how often the run may be tried (default: 1)
  --seed <n>            order of messages, and random disasters (default: 0)
  --chaos <percent>     chance of a random disaster in every round (default: 0)
${Object.entries(DISASTERS)
  .map(([kind, meaning]) => `  --${`${kind} <list>`.padEnd(20)}${meaning}`)
  .join('\n')}
  --quiet               leave out the lines of committed steps
  --json                one JSON object a line
  -h, --help            show this text

A list says when: "40" is after step 40, "2@40" is worker 2 after step 40 (worker 0 without a number), "10,2@40" is both.

  node packages/simulation/dist/main.js --workers 3 --steps 30 --kill 1@12 --restart 20
`;

const FLAGS = {
  workers: { type: 'string' },
  steps: { type: 'string' },
  every: { type: 'string' },
  attempts: { type: 'string' },
  seed: { type: 'string' },
  chaos: { type: 'string' },
  kill: { type: 'string' },
  hang: { type: 'string' },
  'break-ring': { type: 'string' },
  fail: { type: 'string' },
  add: { type: 'string' },
  restart: { type: 'string' },
  damage: { type: 'string' },
  quiet: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @returns the exit code: 0 when the run finished, 1 when it did not. */
function main(argv: readonly string[]): number {
  const values = UsageError.reading(() => parseFlags(argv, FLAGS, 'simulation'));
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const number = (name: 'workers' | 'steps' | 'every' | 'attempts' | 'seed' | 'chaos', least: number, most: number) =>
    wholeNumberFlag(name, values[name], least, most);
  const scenario: Scenario = UsageError.reading(() => ({
    workers: number('workers', 1, 1000) ?? 4,
    steps: number('steps', 1, 1_000_000) ?? 100,
    checkpointEverySteps: number('every', 1, 1_000_000) ?? 20,
    maxAttempts: number('attempts', 1, 1000) ?? 1,
    seed: number('seed', 0, 2 ** 32 - 1) ?? 0,
    chaos: (number('chaos', 0, 100) ?? 0) / 100,
    disasters: Object.keys(DISASTERS).flatMap((kind) => readDisasters(kind as Disaster['kind'], values)),
  }));
  const print = (value: object, text: string) =>
    process.stdout.write(`${values.json === true ? JSON.stringify(value) : text}\n`);
  const printLine = (line: ScenarioLine) => {
    if (values.quiet !== true || line.kind !== 'committed')
      print(line, `${seconds(line.timeMs).padStart(9)}  ${line.text}`);
  };
  const result = simulateScenario(scenario, printLine);
  const { status, step, timeMs, generations, workersLost, stepsLost, checkpointsWritten, reason } = result;
  print(
    { kind: 'summary', ...result },
    `\n${status} at step ${step} of ${scenario.steps} after ${seconds(timeMs)}: ${generations} generations, ${workersLost} workers lost, ` +
      `${stepsLost} steps trained again, ${checkpointsWritten} checkpoints written\n${reason}`,
  );
  return status === 'finished' ? 0 : 1;
}

function readDisasters(kind: Disaster['kind'], values: Partial<Record<Disaster['kind'], string>>): Disaster[] {
  return (values[kind] ?? '').split(',').flatMap((text) => {
    if (text === '') return [];
    const [, worker = '0', step] = /^(?:(\d{1,4})@)?(\d{1,7})$/.exec(text) ?? [];
    if (step === undefined)
      throw new WeftError('invalid_argument', `--${kind} must be steps like 40 or 2@40, not ${JSON.stringify(text)}`);
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
