#!/usr/bin/env node
// `npm run bench`: how fast a training step is, in the units of docs/benchmarks.md.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WEFT_VERSION, WeftError } from '@weft/common';
import { measureAllReduce } from './all-reduce.js';
import { type BenchOptions, parseBenchArguments, USAGE } from './arguments.js';
import { writeFixture } from './fixture.js';
import { benchModel } from './models.js';
import { OPTIMIZER } from './optimizer.js';
import { findPeers } from './peers.js';
import { type BenchCase, contestantsOf, type Peer, planCases } from './plan.js';
import { describeCase, renderProfile, renderResults } from './render.js';
import { runCase } from './run-case.js';
import { median } from './statistics.js';
import { type CaseResult, type Measurement, summarise } from './summary.js';

const DEFAULT_OUT = fileURLToPath(new URL('../results/latest.json', import.meta.url));

try {
  const options = parseBenchArguments(process.argv.slice(2));
  if (options.help) console.log(USAGE);
  else process.exitCode = await bench(options);
} catch (thrown) {
  const error = WeftError.from(thrown);
  console.error(error.cure === undefined ? error.message : `${error.message}\n${error.cure}`);
  process.exitCode = 1;
}

/** Returns the exit code: 1 when a peer's model turned out to be another one, or ours broke down. */
async function bench(options: BenchOptions): Promise<number> {
  const cases = planCases(options, availableParallelism());
  const { peers, missing } = findPeers(options.profile ? [] : options.peers);
  for (const sentence of missing) console.error(sentence);
  const machine = { processor: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), node: process.version };
  const results: CaseResult[] = [];
  const broken: string[] = [];
  const save = (allReduce?: unknown) => writeReport(options, { machine, results, broken, allReduce });
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-'));
  try {
    for (const [index, benchCase] of cases.entries()) {
      const place = `${index + 1}/${cases.length} ${describeCase(benchCase)}`;
      try {
        const { measurements, failures } = await measure(benchCase, peers, options, directory, place);
        if (options.profile) printProfile(benchCase, measurements);
        else results.push(summarise(benchCase, measurements, failures, options.chipTflops));
      } catch (thrown) {
        broken.push(`${describeCase(benchCase)}: ${WeftError.from(thrown).message}`);
      }
      // Whoever interrupts a long run keeps what was measured.
      if (!options.profile) await save();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  for (const sentence of broken) console.error(sentence);
  const failed = broken.length > 0 ? 1 : 0;
  if (options.profile) return failed;

  const allReduce = options.allReduce ? await measureAllReduce(peers.includes('torch-ddp')) : undefined;
  const report = await save(allReduce);
  if (options.json) console.log(report);
  else {
    console.log(`${machine.processor}, ${machine.cores} cores, Node ${machine.node}`);
    console.log(renderResults(results));
    if (allReduce !== undefined) console.log(JSON.stringify(allReduce, null, 2));
  }
  return results.some(({ agreement }) => agreement.some(({ isEqual }) => !isEqual)) ? 1 : failed;
}

/** Writes everything measured so far as JSON, and returns it. */
async function writeReport(options: BenchOptions, measured: object): Promise<string> {
  const report = JSON.stringify({ weft: WEFT_VERSION, options, ...measured }, null, 2);
  const out = options.out ?? DEFAULT_OUT;
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, `${report}\n`);
  return report;
}

async function measure(
  benchCase: BenchCase,
  peers: readonly Peer[],
  options: BenchOptions,
  directory: string,
  place: string,
) {
  const model = benchModel(benchCase.model);
  const where = join(directory, `${benchCase.model}-${benchCase.processes}`);
  const fixture = await writeFixture(where, model, benchCase.processes);
  return runCase(benchCase, {
    ...options,
    contestants: options.profile ? ['weft'] : contestantsOf(benchCase, peers),
    team: { model, optimizer: OPTIMIZER, fixture, trace: options.profile },
    cacheDirectory: join(directory, 'cache'),
    onProgress: (what) => console.error(`${place}: ${what}`),
  });
}

function printProfile(benchCase: BenchCase, measurements: readonly Measurement[]): void {
  for (const { rounds, profile = [] } of measurements) {
    console.log(renderProfile(benchCase, median(rounds.flat()), profile));
  }
}
