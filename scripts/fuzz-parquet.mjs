// `node scripts/fuzz-parquet.mjs [cases] [seed]`: damages a Parquet file of some 30 MB, written by pyarrow, 50 times unless said
// otherwise, and reads it. Each must be read, or refused in one sentence, and the process may take no more memory than its bound.
// WEFT_DATA_PYTHON names the Python that has pyarrow.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './lib/root.mjs';

/** What a process takes at most: the thread's heap of 4 GiB, a page of 1 GiB, and Node itself. */
const MEMORY_BOUND_BYTES = 5.5 * 2 ** 30;
const WRITE = `
import pyarrow as pa, pyarrow.parquet as pq, random, sys
random.seed(19)
words = [f"word{i}" for i in range(5000)]
texts = [" ".join(random.choices(words, k=60)) for _ in range(100000)]
table = pa.table({"text": texts, "id": list(range(100000)), "tags": [[str(i), "x"] for i in range(100000)]})
pq.write_table(table, sys.argv[1], row_group_size=20000, compression="zstd")`;

if (process.argv[2] === 'read') await read(process.argv[3] ?? '');
else main(Number(process.argv[2] ?? 50), Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31)));

/**
 * @param {number} cases
 * @param {number} seed
 */
function main(cases, seed) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-fuzz-'));
  const path = join(folder, 'a.parquet');
  try {
    const python = process.env.WEFT_DATA_PYTHON ?? 'python3';
    const written = spawnSync(python, ['-c', WRITE, path], { encoding: 'utf8' });
    if (written.status !== 0) throw new Error(`${python} cannot write Parquet: ${written.stderr}`);
    const intact = readFileSync(path);
    console.log(`${cases} cases of ${statSync(path).size} bytes, seed ${seed}`);
    const random = generator(seed);
    let largest = 0;
    for (let i = 0; i < cases; i++) {
      writeFileSync(path, damaged(intact, random));
      const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), 'read', path], { encoding: 'utf8' });
      const [outcome = '', bytes = '0'] = child.stdout.trim().split('\t');
      largest = Math.max(largest, Number(bytes));
      console.log(`${i + 1}: ${outcome}, ${Math.round(Number(bytes) / 2 ** 20)} MiB`);
      if (child.status !== 0) throw new Error(`case ${i + 1} of seed ${seed}: ${child.signal ?? child.stderr}`);
      if (Number(bytes) > MEMORY_BOUND_BYTES) throw new Error(`case ${i + 1} of seed ${seed} took too much memory`);
    }
    console.log(`the largest took ${Math.round(largest / 2 ** 20)} MiB`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Some bytes are others: near the end, where the file describes itself, or anywhere.
 *
 * @param {Buffer} intact
 * @param {() => number} random
 */
function damaged(intact, random) {
  const bytes = Buffer.from(intact);
  const edits = 1 + Math.floor(random() * 4);
  for (let i = 0; i < edits; i++) {
    const inFooter = random() < 0.6;
    const reach = inFooter ? Math.min(4096, bytes.length) : bytes.length;
    const at = bytes.length - 1 - Math.floor(random() * reach);
    if (random() < 0.5) bytes[at] = Math.floor(random() * 256);
    else bytes.fill(Math.floor(random() * 256), at, Math.min(bytes.length, at + 1 + Math.floor(random() * 16)));
  }
  return random() < 0.1 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes;
}

/** @param {string} path */
async function read(path) {
  const { textDocuments, WeftError } = await library();
  let rows = 0;
  let bad = 0;
  let outcome;
  try {
    for await (const document of textDocuments(path)) {
      if ('problem' in document) bad++;
      else rows++;
    }
    outcome = `${rows} rows read, ${bad} left out`;
  } catch (thrown) {
    if (!WeftError.is(thrown)) throw thrown;
    outcome = String(thrown instanceof Error ? thrown.message : thrown)
      .replaceAll(path, 'it')
      .slice(0, 160);
  }
  console.log(`${outcome.replace(/\s+/g, ' ')}\t${process.resourceUsage().maxRSS * 1024}`);
}

async function library() {
  const { textDocuments } = await import(join(ROOT, 'packages/data/dist/formats/text-shard.js'));
  const { WeftError } = await import(join(ROOT, 'packages/common/dist/index.js'));
  return { textDocuments, WeftError };
}

/**
 * Mulberry32.
 *
 * @param {number} seed
 */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
