// `npm ci`, unless what is installed is what the lockfile names.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './root.mjs';
import { capture, StageError } from './stage.mjs';

/** @typedef {{ version?: string; integrity?: string; resolved?: string; link?: boolean; optional?: boolean }} LockedPackage */
/** @typedef {Record<string, LockedPackage>} LockedPackages by their path, such as `node_modules/koffi` */

/**
 * Installs the dependencies when they are not in step with `package-lock.json`.
 *
 * @param {import('./stage.mjs').Report} report
 * @returns {Promise<string>} the result, for the line of the stage
 */
export async function installDependencies(report) {
  const wanted = readPackages(join(ROOT, 'package-lock.json'));
  const installed = readPackages(join(ROOT, 'node_modules', '.package-lock.json'));
  if (wanted !== undefined && installed !== undefined && isInStep(wanted, installed)) return 'in step';
  report.note('npm ci, once for this lockfile');
  const npm = process.env.npm_execpath;
  const [program, ...words] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  const { exitCode, output } = await capture(program, [...words, 'ci', '--no-audit', '--no-fund'], { report });
  if (exitCode !== 0) {
    console.error(output);
    throw new StageError('npm ci failed', 'see above; npm must reach the registry it is configured for');
  }
  return 'installed';
}

/**
 * Whether every package of the lockfile is installed in its version. Optional ones may be missing: they are for other
 * platforms.
 *
 * @param {LockedPackages} wanted
 * @param {LockedPackages} installed
 * @returns {boolean}
 */
export function isInStep(wanted, installed) {
  return Object.entries(wanted).every(([path, entry]) => {
    // The root and the workspaces are sources, not installed packages.
    if (!path.startsWith('node_modules/')) return true;
    const found = installed[path];
    if (found === undefined) return entry.optional === true;
    const isSame = found.version === entry.version && found.integrity === entry.integrity;
    return isSame && (entry.link !== true || found.resolved === entry.resolved);
  });
}

/**
 * @param {string} path of a lockfile
 * @returns {LockedPackages | undefined}
 */
function readPackages(path) {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}
