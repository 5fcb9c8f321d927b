import { WeftError } from '@weft/common';

/** Runs a bench with the words of the command line: its exit code is that of the process, an error is printed with its hint. */
export async function runBench(bench: (words: readonly string[]) => Promise<number>): Promise<void> {
  try {
    process.exitCode = await bench(process.argv.slice(2));
  } catch (thrown) {
    const error = WeftError.from(thrown);
    console.error(error.hint === undefined ? error.message : `${error.message}\n${error.hint}`);
    process.exitCode = 1;
  }
}
