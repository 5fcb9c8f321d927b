// What the host is: asked once, cheaply.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** @import { Host } from './types.mjs' */

const DRIVER_FILES = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg'];

/** Whether the files of an NVIDIA driver are there: a guess that costs microseconds. */
export const hasDriverFiles = () => DRIVER_FILES.some((path) => existsSync(path));

/**
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Host} with the word of `nvidia-smi` on the GPU
 */
export function describeHost(environment) {
  const { status, stdout } = spawnSync('nvidia-smi', ['--list-gpus'], {
    env: environment,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 20_000,
  });
  return {
    platform: process.platform,
    architecture: process.arch,
    glibc: glibcVersion(),
    gpu: status === 0 && /^GPU \d/m.test(stdout),
  };
}

/** @returns {string | null} */
function glibcVersion() {
  if (process.report === undefined) return null;
  // Otherwise the report looks up the names of all open connections.
  Object.assign(process.report, { excludeNetwork: true });
  /** @type {unknown} */
  const report = process.report.getReport();
  /** @type {{ header?: { glibcVersionRuntime?: string } }} */
  const { header } = report instanceof Object ? report : {};
  return header?.glibcVersionRuntime ?? null;
}
