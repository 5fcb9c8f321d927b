import { execFileSync } from 'node:child_process';
import { command, repository } from './weft.js';

/** The demo data and its index for the recipes that the tests train; nothing to do the second time. */
export default function prepareData(): void {
  for (const args of [
    ['data', 'fetch', 'demo'],
    ['data', 'index', 'debugTiny'],
    ['data', 'index', 'debugNano'],
  ]) {
    execFileSync(process.execPath, [command, ...args], { cwd: repository, stdio: ['ignore', 'ignore', 'inherit'] });
  }
}
