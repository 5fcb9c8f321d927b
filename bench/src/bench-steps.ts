import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, refuse, WeftError } from '@weft/common';
import { measureAllReduce, renderAllReduce } from './all-reduce.js';
import { ALL_REDUCE_DEFAULTS, type StepBenchOptions } from './arguments.js';
import { findPeers, measuredProcessOf } from './candidates.js';
import { readChosenForms } from './chosen-forms.js';
import { compareSteps } from './compare-steps.js';
import { writeFixture } from './fixture.js';
import { machineSentence } from './machine.js';
import { type BenchModel, benchModel, OPTIMIZER } from './models.js';
import { type BenchCase, type CandidateName, candidatesOf, type Peer, planCases } from './plan.js';
import { describeCase, renderProfile, renderResults } from './render.js';
import { emptyReport, isSameCase, type Report, readResults, writeReport } from './report.js';
import { type CaseResult, type Measurement, summarise } from './summary.js';

const DEFAULT_OUT = fileURLToPath(new URL('../results/latest.json', import.meta.url));

/**
 * How fast a training step is, in the units of docs/benchmarks.md; beside peers where they are asked for.
 *
 * @returns the exit code: 1 when a peer's model turned out to be another one, or ours broke down
 */
export async function benchSteps(options: StepBenchOptions): Promise<number> {
  if (options.before !== undefined && !existsSync(measuredProcessOf(options.before))) {
    const hint = 'name the folder of a checkout, and build it: npx tsc -b . bench';
    refuse('not_found', `--before: ${measuredProcessOf(options.before)} does not exist`, hint);
  }
  const cases = planCases(options, availableParallelism());
  const { peers, missing } = findPeers(options.profile ? [] : options.peers);
  for (const sentence of missing) console.error(sentence);
  const out = options.out ?? DEFAULT_OUT;
  let report = emptyReport(options);
  const known = options.resume ? await readResults(out, report) : [];
  const startedMs = Date.now();
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-'));
  try {
    for (const [index, benchCase] of cases.entries()) {
      const kept = known.find((result) => isSameCase(result.case, benchCase));
      const position = `${index + 1}/${cases.length} ${describeCase(benchCase)}`;
      try {
        if (kept === undefined) {
          const onProgress = (what: string) => console.error(`${minutes(Date.now() - startedMs)} ${position}: ${what}`);
          const { measurements, failures, forms } = await measure(benchCase, peers, options, directory, onProgress);
          if (options.profile) printProfile(benchCase, measurements);
          else {
            const result = summarise(benchCase, measurements, failures, options.chipTflops);
            report = withResult(report, { ...result, forms });
          }
        } else report = withResult(report, kept);
      } catch (thrown) {
        const reason = `${describeCase(benchCase)}: ${WeftError.from(thrown).message}`;
        report = { ...report, broken: [...report.broken, reason] };
      }
      if (!options.profile) await writeReport(out, report);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  for (const sentence of report.broken) console.error(sentence);
  const failed = report.broken.length > 0 ? 1 : 0;
  if (options.profile) return failed;

  if (options.allReduce) {
    const allReduce = await measureAllReduce({ ...ALL_REDUCE_DEFAULTS, peers: peers.includes('torch-ddp') });
    report = { ...report, allReduce };
    await writeReport(out, report);
  }
  print(report);
  return report.results.some(({ agreement }) => agreement.some(({ isEqual }) => !isEqual)) ? 1 : failed;
}

function print({ options, machine, results, allReduce, ...others }: Report): void {
  if (options.json) {
    console.log(JSON.stringify({ ...others, machine, options, results, allReduce }, null, 2));
    return;
  }
  console.log(machineSentence(machine));
  console.log(renderResults(results));
  if (allReduce !== undefined) console.log(`\n${renderAllReduce(allReduce)}`);
}

function withResult(report: Report, result: CaseResult): Report {
  return { ...report, results: [...report.results, result] };
}

/** 754000 → "12:34" */
function minutes(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(seconds % 60).padStart(2, '0')}`;
}

async function measure(
  benchCase: BenchCase,
  peers: readonly Peer[],
  options: StepBenchOptions,
  directory: string,
  onProgress: (what: string) => void,
) {
  const model = benchModel(benchCase.model);
  const where = join(directory, `${benchCase.model}-${benchCase.processes}`);
  // Each case times the forms of its products anew, as the first start on a machine does.
  const productForms = join(where, `forms-${benchCase.precision}-${benchCase.threads}`);
  const candidates: readonly CandidateName[] = options.profile
    ? ['weft']
    : candidatesOf(benchCase, peers, { hasBefore: options.before !== undefined, hasFixed: options.fixedForms });
  const sharedOf = async (each: BenchModel, folder: string) => ({
    model: each,
    optimizer: OPTIMIZER,
    fixture: await writeFixture(folder, each, benchCase.processes),
    trace: options.profile,
    productForms,
  });
  const shared = await sharedOf(model, where);
  const decoder = candidates.includes('weft-decoder')
    ? await sharedOf({ ...model, images: null }, join(where, 'decoder'))
    : shared;
  const compared = await compareSteps(benchCase, {
    ...options,
    candidates,
    shared,
    decoder,
    before: options.before,
    cacheDirectory: join(directory, 'cache'),
    onProgress,
  });
  return { ...compared, forms: await readChosenForms(productForms, benchCase) };
}

function printProfile(benchCase: BenchCase, measurements: readonly Measurement[]): void {
  for (const { rounds, profile = [] } of measurements) {
    console.log(renderProfile(benchCase, median(rounds.flat()), profile));
  }
}
