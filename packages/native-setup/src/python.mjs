// What a Python on this host can give: an installed TensorFlow, or pip to download a wheel with.

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { withoutPasswords } from './error.mjs';

/** @import { Wheel } from './types.mjs' */

/**
 * An importable package `tensorflow`.
 *
 * @typedef {object} PythonPackage
 * @property {string} directory absolute: the package's own folder
 * @property {string} distribution `tensorflow`, `tensorflow-cpu`, …
 * @property {string} version
 */

// find_spec looks the package up without running it: importing TensorFlow takes seconds.
const FIND_PACKAGE = `
import importlib.metadata, importlib.util, json
spec = importlib.util.find_spec('tensorflow')
for folder in (spec.submodule_search_locations or []) if spec and spec.origin else []:
    for name in ('tensorflow', 'tensorflow-cpu'):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        print(json.dumps({'directory': folder, 'distribution': name, 'version': version}))
        raise SystemExit
`;

const PYTHON_TIMEOUT_MS = 10_000;

/**
 * Asks Python whether the package `tensorflow` can be imported, without importing it.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @returns {PythonPackage | undefined}
 */
export function findPythonPackage(environment) {
  return /** @type {PythonPackage | undefined} */ (askPython(FIND_PACKAGE, environment));
}

/**
 * Runs a short script that prints JSON.
 *
 * @param {string} script
 * @param {NodeJS.ProcessEnv} environment
 * @returns {unknown} undefined where there is no Python, or it printed nothing
 */
export function askPython(script, environment) {
  for (const python of ['python3', 'python']) {
    // In the root folder, so that no folder beside the user counts as the package.
    const { status, stdout } = spawnSync(python, ['-c', script], {
      cwd: '/',
      env: environment,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: PYTHON_TIMEOUT_MS,
    });
    if (status === 0) return stdout.trim() === '' ? undefined : JSON.parse(stdout);
  }
  return undefined;
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @returns {readonly string[] | undefined} the command that starts pip
 */
export function findPip(environment) {
  for (const command of [['python3', '-m', 'pip'], ['python', '-m', 'pip'], ['pip3'], ['pip']]) {
    const [program = '', ...words] = command;
    const { status } = spawnSync(program, [...words, '--version'], {
      env: environment,
      stdio: 'ignore',
      timeout: PYTHON_TIMEOUT_MS,
    });
    if (status === 0) return command;
  }
  return undefined;
}

/**
 * Lets pip download one wheel, for any Python, with the index, proxy and certificates that pip is configured for.
 *
 * @param {readonly string[]} pip
 * @param {Wheel} wheel
 * @param {string} folder is made; the wheel is in it afterwards
 * @param {NodeJS.ProcessEnv} environment
 * @param {(bytes: number) => void} onBytes how much is there so far
 * @returns {Promise<string>} the path of the wheel
 * @throws {Error} with pip's own last error line
 */
export async function downloadWithPip(pip, wheel, folder, environment, onBytes) {
  const partial = join(folder, 'partial');
  mkdirSync(partial, { recursive: true });
  const [program = '', ...words] = pip;
  // The oldest names first are what NVIDIA's wheels bear; TensorFlow's and JAX's have the newest.
  const platforms = ['2010', '_2_12', '2014', '_2_17', '_2_25', '_2_27'].map((age) => `manylinux${age}_x86_64`);
  // Only shared libraries are unpacked, so any Python will do that the wheel's name allows.
  const python = /-cp3(\d+)-/.exec(wheel.file)?.[1] ?? '13';
  const child = spawn(
    program,
    [
      ...[...words, 'download', `${wheel.project}==${wheel.version}`, '--no-deps', '--only-binary=:all:'],
      ...[
        '--python-version',
        `3.${python}`,
        '--implementation',
        'cp',
        ...platforms.flatMap((name) => ['--platform', name]),
      ],
      ...['--dest', folder, '--no-cache-dir', '--no-input', '--disable-pip-version-check', '--progress-bar', 'off'],
      ...['--retries', '2'],
    ],
    // pip writes the file under TMPDIR and moves it at the end: that is where progress can be seen.
    { env: { ...environment, TMPDIR: partial }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-20_000);
  });
  const watch = setInterval(() => void largestFile(partial).then(onBytes, () => {}), 500);
  try {
    const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
    if (status !== 0) throw new Error(`pip could not download ${wheel.project} ${wheel.version}${lastError(errors)}`);
  } finally {
    clearInterval(watch);
  }
  return join(folder, wheel.file);
}

/** @param {string} text what pip wrote */
function lastError(text) {
  const line = text
    .split('\n')
    .filter((candidate) => candidate.startsWith('ERROR:'))
    .at(-1);
  return line === undefined ? '' : `: ${withoutPasswords(line.slice('ERROR:'.length).trim())}`;
}

/**
 * @param {string} folder
 * @returns {Promise<number>} bytes of the largest file in it
 */
async function largestFile(folder) {
  let largest = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) largest = Math.max(largest, (await stat(join(entry.parentPath, entry.name))).size);
  }
  return largest;
}
