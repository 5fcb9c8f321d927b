// `node scripts/tokenizer-speed.mjs [python]`: a text of 500,000 characters through every tokenizer of packages/data/fixtures, and the
// same through Python's `tokenizers`, in turn. Ends with 1 when that of Llama 2 takes more than 1.5 times as long. Needs a build.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { median } from '../packages/common/dist/index.js';
import { openTokenizer } from '../packages/data/dist/index.js';
import { ROOT } from './lib/root.mjs';

const CHARACTERS = 500_000;
const ROUNDS = 5;
const MOST = 1.5;
const python = process.argv[2] ?? 'python3';
const folder = join(ROOT, 'packages/data/fixtures/tokenizers');
const PEER = `
import json, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.encode_special_tokens = True
text = sys.stdin.read()
tokenizer.encode(text[:1000], add_special_tokens=False)
began = time.perf_counter()
ids = tokenizer.encode(text, add_special_tokens=False).ids
print(json.dumps([time.perf_counter() - began, len(ids)]))
`;

const prose = readFileSync(join(ROOT, 'README.md'), 'utf8') + readFileSync(join(ROOT, 'docs/tour.md'), 'utf8');
const text = prose.repeat(Math.ceil(CHARACTERS / prose.length)).slice(0, CHARACTERS);
let isWithin = true;
for (const family of ['gpt2', 'llama3', 'llama2', 'unigram', 'wordpiece']) {
  const path = join(folder, `${family}.tokenizer.json`);
  const tokenizer = await openTokenizer(path);
  tokenizer.encode(text.slice(0, 1000));
  /** @type {number[]} */
  const own = [];
  /** @type {number[]} */
  const theirs = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    const { length } = tokenizer.encode(text);
    own.push((performance.now() - began) / 1000);
    const { stdout, stderr, status } = spawnSync(python, ['-c', PEER, path], {
      input: text,
      encoding: 'utf8',
      env: { ...process.env, TOKENIZERS_PARALLELISM: 'false' },
    });
    if (status !== 0) throw new Error(`${python} with tokenizers: ${stderr}`);
    const [seconds, tokens] = JSON.parse(stdout);
    if (tokens !== length) throw new Error(`${family}: ${length} tokens, Python has ${tokens}`);
    theirs.push(seconds);
  }
  const ratio = median(own) / median(theirs);
  if (family === 'llama2') isWithin = ratio <= MOST;
  const seconds = (/** @type {number[]} */ times) => `${median(times).toFixed(2)} s`;
  console.log(family.padEnd(10), `Weft ${seconds(own)}, Python ${seconds(theirs)}, ratio ${ratio.toFixed(2)}`);
}
process.exitCode = isWithin ? 0 : 1;
