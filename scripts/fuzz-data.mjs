// `node scripts/fuzz-data.mjs [cases] [seed]`: reads so many damaged shards, images and tokenizers, 10,000 unless said
// otherwise. Each must be read, or refused in one sentence.

import { spawnSync } from 'node:child_process';
import { ROOT } from './lib/root.mjs';

/** Tests in `fuzz.test.ts`, each of which takes as many cases. */
const TESTS = 20;
const cases = Number(process.argv[2] ?? 10_000);
const seed = process.argv[3] ?? `${Math.floor(Math.random() * 2 ** 31)}`;
console.log(`${cases} cases, seed ${seed}`);
const { status } = spawnSync('npx', ['vitest', 'run', '--project', 'fast', 'packages/data/src/formats/fuzz.test.ts'], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, WEFT_FUZZ_CASES: `${Math.ceil(cases / TESTS)}`, WEFT_FUZZ_SEED: seed },
});
process.exitCode = status ?? 1;
