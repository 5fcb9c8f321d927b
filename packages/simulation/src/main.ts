import { createProgram, readOptions, text, UsageError, wholeNumber } from '@weft/command-line';
import { WeftError } from '@weft/common';
import { replayRun } from './replay-run.js';
import { describeReport } from './report.js';
import { simulate } from './simulate.js';
import { Violation } from './violation.js';

/** What the program below reads. */
interface GivenOptions {
  readonly workers: number;
  readonly hours: number;
  readonly seed: number;
  readonly seeds: number;
  readonly json?: true;
  readonly replay?: string;
}

/** @returns the exit code: 1 where an invariant does not hold. */
async function main(argv: readonly string[]): Promise<number> {
  const program = createProgram('npm run sim --', process.stdout)
    .description(
      "Simulates a cluster in virtual time: the coordinator's real decisions, workers, a network and a store, and about once a " +
        'minute something that goes wrong. Ends with 1 where an invariant does not hold, and names it.',
    )
    .option('--workers <n>', 'workers of the cluster', wholeNumber(1, 100_000), 100)
    .option(
      '--hours <n>',
      'virtual hours with faults; after them every run must come to its end',
      wholeNumber(1, 8760),
      24,
    )
    .option('--seed <n>', 'of everything that is random', wholeNumber(0, 2 ** 32 - 1), 0)
    .option('--seeds <n>', 'so many simulations, with this seed and those that follow', wholeNumber(1, 1_000_000), 1)
    .option('--json', 'one JSON object a line')
    .option('--replay <folder>', 'of a run: checks that the same decisions follow from its log', text);
  const options = readOptions<GivenOptions>(program, argv);
  if (options === undefined) return 0;
  const { workers, hours, seed, seeds, json, replay } = options;
  const print = (value: object, sentence: string) =>
    process.stdout.write(`${json === true ? JSON.stringify(value) : sentence}\n`);
  if (replay !== undefined) {
    const replayed = await replayRun(replay);
    print(replayed, replayed.sentence);
    return replayed.difference === undefined ? 0 : 1;
  }
  let exitCode = 0;
  for (let i = 0; i < seeds; i++)
    try {
      const report = simulate({ seed: seed + i, workers, hours });
      print(report, describeReport(report));
    } catch (thrown) {
      if (!(thrown instanceof Violation)) throw thrown;
      const { invariant, message } = thrown;
      print({ seed: seed + i, workers, hours, invariant, message }, `${invariant}: ${message}`);
      exitCode = 1;
    }
  return exitCode;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (thrown) {
  const { sentence } = WeftError.from(thrown);
  process.stderr.write(`${sentence}\n`);
  process.exitCode = thrown instanceof UsageError ? thrown.exitCode : 1;
}
