import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { WeftError } from '@weft/common';
import { COMPILING_STEPS, type PlacementCase, type PlacementStep, placementSettings } from './placement-case.js';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const WEFT = join(REPOSITORY, 'apps/cli/bin/weft.js');
const DEMO_DATA = join(REPOSITORY, '.weft/data/demo');

/** @throws WeftError `not_found` when the demo data has not been fetched and indexed. */
export function requireDemoData(): void {
  if (existsSync(join(DEMO_DATA, 'index'))) return;
  throw new WeftError('not_found', `there is no indexed demo data in ${DEMO_DATA}`, {
    cure: 'run `npx weft data fetch demo` and `npx weft data index moeTiny`, or leave this part out: --parts layer',
  });
}

/** Trains a run with real processes and returns what its steps took, those of the beginning left out. */
export async function runPlacement(
  one: PlacementCase,
  options: { readonly home: string; readonly steps: number },
): Promise<readonly PlacementStep[]> {
  const { home, steps } = options;
  const settings = placementSettings(one, steps, DEMO_DATA).flatMap((setting) => ['--set', setting]);
  const words = ['launch', 'moeTiny', '--local', '1', ...settings, '--home', home, '--json'];
  await promisify(execFile)(process.execPath, [WEFT, ...words], { cwd: REPOSITORY, maxBuffer: 2 ** 26 });
  const [runId = ''] = await readdir(join(home, 'runs'));
  const text = await readFile(join(home, 'runs', runId, 'metrics.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .slice(COMPILING_STEPS)
    .map((line) => stepOf(JSON.parse(line)));
}

interface Row {
  readonly loss: number;
  readonly seconds: Readonly<Record<string, number>>;
  readonly experts: { readonly bytesSent: number; readonly bytesReceived: number; readonly waitingSeconds: number };
}

function stepOf({ loss, seconds, experts }: Row): PlacementStep {
  const { bytesSent, bytesReceived, waitingSeconds } = experts;
  const computed = Object.values(seconds).reduce((sum, each) => sum + each, 0);
  return { stepSeconds: computed + waitingSeconds, waitingSeconds, bytes: bytesSent + bytesReceived, loss };
}
