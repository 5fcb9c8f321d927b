import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WEFT_VERSION, WeftError } from '@weft/common';
import type { AllReduceResult } from './all-reduce.js';
import type { StepBenchOptions } from './arguments.js';
import { describeMachine, type Machine } from './machine.js';
import type { BenchCase } from './plan.js';
import type { CaseResult } from './summary.js';

/** What `npm run bench` writes as JSON. */
export interface Report {
  readonly weft: string;
  readonly machine: Machine;
  readonly options: StepBenchOptions;
  readonly results: readonly CaseResult[];
  /** Cases that could not be measured, and why. */
  readonly broken: readonly string[];
  readonly allReduce?: readonly AllReduceResult[];
}

export function emptyReport(options: StepBenchOptions): Report {
  return { weft: WEFT_VERSION, machine: describeMachine(), options, results: [], broken: [] };
}

/** Replaces the file as a whole, so that an interrupted run keeps what was measured before. */
export async function writeReport(path: string, report: Report): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, `${JSON.stringify(report, null, 2)}\n`);
  await rename(`${path}.new`, path);
}

/** What decides how a case is measured; results of other settings do not belong into one table. */
const SETTINGS = ['rounds', 'steps', 'warmup', 'peers', 'before', 'fixedForms'] as const;

/**
 * The results of an interrupted run, to go on with. None where there is no file.
 * @throws WeftError `failed_precondition` for those of another machine, version or way of measuring
 */
export async function readResults(path: string, wanted: Report): Promise<readonly CaseResult[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return [];
  }
  return resultsOf(parsed(text, path), wanted, path);
}

export function resultsOf(found: Report, wanted: Report, path: string): readonly CaseResult[] {
  const differing = [
    ...(found.weft === wanted.weft ? [] : ['version']),
    ...(JSON.stringify(found.machine) === JSON.stringify(wanted.machine) ? [] : ['machine']),
    ...SETTINGS.filter((name) => JSON.stringify(found.options[name]) !== JSON.stringify(wanted.options[name])),
  ];
  if (differing.length === 0) return found.results;
  throw new WeftError('failed_precondition', `${path} was measured with another ${differing.join(' and ')}`, {
    hint: 'give the same options as before, or leave --resume away and measure everything anew',
  });
}

function parsed(text: string, path: string): Report {
  try {
    const report: Report = JSON.parse(text);
    return report;
  } catch (cause) {
    throw new WeftError('corrupt_data', `${path} is not JSON`, { cause, hint: 'leave --resume away' });
  }
}

export function isSameCase(a: BenchCase, b: BenchCase): boolean {
  return a.model === b.model && a.precision === b.precision && a.threads === b.threads && a.processes === b.processes;
}
