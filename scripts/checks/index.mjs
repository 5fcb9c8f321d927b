import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../lib/root.mjs';
import { capture, seconds } from '../lib/stage.mjs';
import { findDeadCode } from './dead-code.mjs';
import { findBrokenPaths } from './doc-paths.mjs';
import { findCrumbs, findLongFiles, isCounted, MAX_LINES, MIN_LINES } from './file-size.mjs';
import { listFiles, readFiles } from './files.mjs';
import { findForbiddenImports } from './layers.mjs';
import { findAddresses } from './lockfile.mjs';
import { readPackages } from './packages.mjs';
import { findRetiredWords } from './retired-words.mjs';
import { runBiome, runOxlint } from './tools.mjs';
import { findBrokenWalks } from './walks.mjs';

/**
 * A check: what it found, one sentence each, or why it was skipped.
 *
 * @typedef {object} Check
 * @property {string} name
 * @property {string} hint an imperative sentence without a final full stop
 * @property {() => string[] | Promise<string[] | { skipped: string }>} run
 */

/** What every commit keeps. @type {readonly Check[]} */
export const CHECKS = [
  {
    name: 'format and lint',
    hint: 'run `npm run format`, and change by hand what it leaves; files in a circle: move what both need into a lower file',
    run: () => runBiome(),
  },
  {
    name: 'no floating promises',
    hint: 'await the promise, or write `void` before it and handle its rejection',
    run: runOxlint,
  },
  {
    name: 'packages import only from lower layers',
    hint: 'move the code to a package that may know it, or list the package in package.json and tsconfig.json (layers: scripts/checks/layers.mjs)',
    run: () =>
      findForbiddenImports(
        readPackages(),
        readFiles(
          (path) => /^(packages|apps|e2e)\/.*\.(ts|mts|mjs|js|tsx)$/.test(path) && !path.includes('/generated/'),
        ),
      ),
  },
  {
    name: `no file over ${MAX_LINES} lines`,
    hint: 'split the file by its thoughts',
    run: () => findLongFiles(readFiles(isCounted)),
  },
  {
    name: `no file under ${MIN_LINES} lines that one other file imports`,
    hint: 'merge it into the file that imports it, or with its neighbours of one thought',
    run: () => findCrumbs(readFiles(isCode)),
  },
  {
    name: 'no dead exports, files and dependencies',
    hint: 'delete it, or drop the word export where its own file uses it; `npx knip` explains itself',
    run: () => findDeadCode(),
  },
  {
    name: 'one word for one thing',
    hint: 'use the word of docs/glossary.md (the retired ones: scripts/checks/retired-words.mjs)',
    run: () => findRetiredWords(readFiles(mayHoldWords)),
  },
  {
    name: 'paths in documents exist',
    hint: 'correct the document',
    run: checkDocuments,
  },
  {
    name: 'generated code is in step with proto/',
    hint: 'run `npm run proto` and commit what it writes',
    run: checkProto,
  },
  {
    name: 'the lockfile names no address',
    hint: 'run `npm install` with the .npmrc of this repository (omit-lockfile-registry-resolved)',
    run: () => findAddresses(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')),
  },
  {
    name: 'the walks of the tour follow the imports',
    hint: 'correct the list in docs/tour.md, or shorten the way through the code',
    run: () => {
      const [tour] = readFiles((path) => path === 'docs/tour.md');
      return tour === undefined ? ['docs/tour.md is missing'] : findBrokenWalks(tour, readFiles(isCode));
    },
  },
];

/**
 * Runs the checks and prints what each found, with its hint.
 *
 * @param {readonly Check[]} [checks]
 * @returns {Promise<{ passed: number; failed: number; skipped: number }>}
 */
export async function runChecks(checks = CHECKS) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, hint, run } of checks) {
    const startedMs = performance.now();
    const found = await run();
    const took = seconds(performance.now() - startedMs);
    if (!Array.isArray(found)) {
      counts.skipped++;
      console.log(`  skipped  ${name}: ${found.skipped}`);
    } else if (found.length === 0) {
      counts.passed++;
      console.log(`  ok       ${name} (${took})`);
    } else {
      counts.failed++;
      console.log(`  FAILED   ${name} (${took})`);
      for (const line of found) console.log(`             ${line}`);
      console.log(`           hint: ${hint}.`);
    }
  }
  return counts;
}

/** @param {string} path */
const isCode = (path) => /^(packages|apps)\/.*\.tsx?$/.test(path) && !path.includes('/generated/');

/**
 * Code, protos and documents; not what is generated, nor the list of the retired words and its test.
 *
 * @param {string} path
 */
const mayHoldWords = (path) =>
  /\.(ts|mjs|proto|md|py|yaml|yml|sh)$/.test(path) &&
  !path.includes('/generated/') &&
  !path.startsWith('scripts/checks/');

function checkDocuments() {
  const documents = readFiles((path) => /^(docs\/.*|deploy\/.*|README|CONTRIBUTING)\.?md$/.test(path));
  const topLevel = [...new Set(listFiles().map((path) => path.split('/')[0] ?? path))];
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return findBrokenPaths(documents, (path) => existsSync(join(ROOT, path)), topLevel, Object.keys(scripts));
}

/** @returns {Promise<string[] | { skipped: string }>} */
async function checkProto() {
  const version = await capture('protoc', ['--version']).catch(() => undefined);
  if (version === undefined) return { skipped: 'protoc was not found: install the Debian package protobuf-compiler.' };
  const folder = mkdtempSync(join(tmpdir(), 'weft-proto-'));
  try {
    const { exitCode, output } = await capture(process.execPath, ['scripts/generate-proto.mjs', folder]);
    if (exitCode !== 0) return output.trimEnd().split('\n');
    return compareFolders(folder, join(ROOT, 'packages/proto/src/generated'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} fresh
 * @param {string} committed
 * @returns {string[]}
 */
function compareFolders(fresh, committed) {
  const listed = new Set([fresh, committed].flatMap((folder) => readdirSync(folder, { recursive: true }).map(String)));
  // The version of protoc is written into the header; it does not change the code.
  const read = (/** @type {string} */ path) =>
    existsSync(path) ? readFileSync(path, 'utf8').replace(/^\/\/ +protoc +v.*\n/m, '') : undefined;
  return [...listed]
    .filter((name) => name.endsWith('.ts') && read(join(fresh, name)) !== read(join(committed, name)))
    .map((name) => `packages/proto/src/generated/${name} differs from what protoc generates now`);
}
