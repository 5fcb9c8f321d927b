// For how long training stands still to save: node scripts/save-stall.mjs [recipe] [saves]
// Trains on two workers, saves every 5 steps, and prints the stall of every save, which the longest rank measured. Ends with 1
// when one of them took longer than 0.2 s. It needs the demo data of `npm run quickstart` or `npm run test:e2e`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './lib/root.mjs';
import { weftIn } from './lib/supervised.mjs';

const BAR_SECONDS = 0.2;
const EVERY = 5;
const [recipe = 'debugTiny', saves = '6'] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), 'weft-save-stall-'));
try {
  const settings = {
    'data.directory': join(ROOT, '.weft/data/demo'),
    'checkpoint.everySteps': EVERY,
    'evaluation.everySteps': 0,
    'evaluation.sequencesPerSource': 0,
    workers: 2,
    steps: EVERY * Number(saves),
  };
  const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const { code, stdout, stderr } = weftIn(home, ['launch', recipe, '--local', '2', '--json', ...set]);
  if (code !== 0) throw new Error(`the run ended with ${code}: ${stderr}`);
  const runId = /"runId":"([^"]+)"/.exec(stdout)?.[1] ?? '';
  const log = readFileSync(join(home, 'runs', runId, 'events.jsonl'), 'utf8')
    .trim()
    .split('\n');
  /** @type {{ kind: string, step: number, stallSeconds?: number }[]} */
  const records = log.map((line) => JSON.parse(line).record);
  const written = records.filter(({ kind }) => kind === 'checkpointWritten');
  for (const { step, stallSeconds } of written)
    console.log(`step ${step}: training stood still for ${stallSeconds?.toFixed(3) ?? 'an unknown time'} s`);
  const most = Math.max(...written.map(({ stallSeconds = Infinity }) => stallSeconds));
  console.log(`${most.toFixed(3)} s at most, ${BAR_SECONDS} s is the bar`);
  if (most > BAR_SECONDS) process.exitCode = 1;
} finally {
  rmSync(home, { recursive: true, force: true });
}
