import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './root.mjs';

const WEFT = join(ROOT, 'apps/cli/bin/weft.js');

/**
 * Runs a command of Weft and shows its warnings.
 *
 * @param {readonly string[]} args
 * @param {string} home
 * @returns {Promise<void>}
 */
export function weft(args, home) {
  console.log(`weft ${args.join(' ')}`);
  return new Promise((resolve, reject) => {
    const env = { ...process.env, WEFT_HOME: home };
    const child = spawn(process.execPath, [WEFT, ...args], { cwd: ROOT, env, stdio: ['ignore', 'ignore', 'inherit'] });
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`weft ${args[0]} ended with ${code}`))));
  });
}

/**
 * Runs a command of Weft with `--json`.
 *
 * @param {readonly string[]} args
 * @returns {Promise<Record<string, any>[]>} the objects that it printed
 */
export function weftJson(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WEFT, ...args, '--json'], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.once('close', (code) => {
      if (code !== 0) reject(new Error(`weft ${args.join(' ')} ended with ${code}`));
      else resolve(out.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : [])));
    });
  });
}
