// `node scripts/compare-losses.mjs <revision>`: trains three small recipes with this tree and with another revision of
// it, and compares loss and gradient norm of every step, bit for bit. Ends with 1 where they differ. The other revision
// is checked out and built in a folder of its own; both read the same demo data, which the quickstart makes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './lib/root.mjs';

/** Words after `weft launch`: a dense model on two workers, one with its experts in other processes, the benchmark. */
const RUNS = [
  ['debugTiny', '--local', '2'],
  ['moeTiny', '--local', '2', '--expert-workers', '2'],
  ['mm1Tiny', '--local', '2', '--steps', '20'],
];

const revision = process.argv[2];
const data = join(ROOT, '.weft/data');
if (revision === undefined || !existsSync(data)) {
  console.error(
    revision === undefined
      ? 'Name a revision: node scripts/compare-losses.mjs HEAD~1'
      : 'There is no demo data in .weft/data: run `npm run quickstart` once.',
  );
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'weft-compare-'));
let differ = false;
try {
  const other = join(folder, 'tree');
  run('git', ['worktree', 'add', '--detach', other, revision], ROOT);
  console.log(`${revision}: install and build in ${other}`);
  run('npm', ['ci'], other);
  run('npx', ['tsc', '-b'], other);
  run('npx', ['tsc', '-b'], ROOT);
  for (const words of RUNS) {
    const theirs = train(other, words);
    const ours = train(ROOT, words);
    const first = ours.findIndex((step, index) => step !== theirs[index]);
    const isEqual = first === -1 && ours.length === theirs.length;
    differ ||= !isEqual;
    const verdict = isEqual
      ? `all ${ours.length} steps are equal`
      : `step ${first + 1} differs: ${theirs[first]} became ${ours[first]}`;
    console.log(`weft launch ${words.join(' ')}: ${verdict}`);
  }
} finally {
  spawnSync('git', ['worktree', 'remove', '--force', join(folder, 'tree')], { cwd: ROOT });
  rmSync(folder, { recursive: true, force: true });
}
process.exit(differ ? 1 : 0);

/**
 * Trains in a home of its own.
 *
 * @param {string} tree
 * @param {readonly string[]} words
 * @returns {string[]} what every step came to
 */
function train(tree, words) {
  const home = mkdtempSync(join(folder, 'home-'));
  symlinkSync(data, join(home, 'data'));
  run(process.execPath, [join(tree, 'apps/cli/bin/weft.js'), 'launch', ...words, '--home', home], tree);
  const [runId = ''] = readdirSync(join(home, 'runs'));
  const rows = readFileSync(join(home, 'runs', runId, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n');
  return rows.map((row) => {
    const { loss, gradNorm } = JSON.parse(row);
    return `loss ${loss}, gradient norm ${gradNorm}`;
  });
}

/**
 * @param {string} program
 * @param {readonly string[]} words
 * @param {string} directory
 */
function run(program, words, directory) {
  const { status, stdout, stderr } = spawnSync(program, words, {
    cwd: directory,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
}
