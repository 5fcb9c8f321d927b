import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isJsonObject, type JsonObject, sleep, WeftError } from '@weft/common';
import { Home, makeDirectory, shortPath } from '@weft/files';
import { type Launcher, LocalLauncher } from '@weft/launch';
import type { CommandContext } from './context.js';
import { EXIT } from './report-error.js';
import { print, printJson } from './terminal.js';

/** The file that Node runs as `weft`; the same file seen from `src` and from `dist`. */
export const WEFT_SCRIPT = fileURLToPath(new URL('../bin/weft.js', import.meta.url));

/** Starts coordinators and workers of this `weft` on this machine, with the home and the store of the command. */
export function localLauncher(context: CommandContext): Launcher {
  return new LocalLauncher({ home: context.home, script: WEFT_SCRIPT, env: childEnvironment(context) });
}

const POLL_MS = 100;

/**
 * `--local N --detach`: runs the same command without `--detach` in a background process, which stays with the run, its
 * coordinator and its workers to the end. Returns as soon as the run is launched or resumed there.
 *
 * @throws WeftError the error that the background process printed.
 */
export async function launchInBackground(context: CommandContext, args: readonly string[]): Promise<number> {
  const { terminal, home, json } = context;
  const { logsDirectory } = new Home(home);
  await makeDirectory(logsDirectory);
  const logFile = join(logsDirectory, `${new Date().toISOString().replaceAll(/[:.]/g, '')}-detached.log`);
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, [WEFT_SCRIPT, ...args, '--json', '--home', home], {
    stdio: ['ignore', log, log],
    env: childEnvironment(context),
    detached: true,
  });
  closeSync(log);
  child.unref();
  let hasEnded = false;
  child.once('exit', () => (hasEnded = true));
  child.once('error', () => (hasEnded = true));
  for (;;) {
    // Read before the file, so the last lines of a process that ended are not missed.
    const isLast = hasEnded;
    const lines = (await readFile(logFile, 'utf8')).split('\n').flatMap(parseLine);
    const begun = lines.find(({ type }) => type === 'launched' || type === 'resumed');
    if (begun !== undefined) {
      if (json) printJson(terminal, { ...begun, log: logFile });
      else {
        print(terminal, `${begun.runId} trains in the background; log in ${shortPath(logFile)}.`);
        print(terminal, `Follow it with ${terminal.commandName} watch ${begun.runId}`);
      }
      return EXIT.done;
    }
    if (isLast) throw findError(lines, logFile);
    await sleep(POLL_MS);
  }
}

/** The URL of Redis goes into the environment: it may hold a password, and every user of a machine sees arguments. */
function childEnvironment({ terminal, redisUrl }: CommandContext) {
  return { ...terminal.env, ...(redisUrl === undefined ? {} : { WEFT_REDIS_URL: redisUrl }) };
}

function parseLine(line: string): JsonObject[] {
  try {
    const value: unknown = JSON.parse(line);
    return isJsonObject(value) ? [value] : [];
  } catch {
    return [];
  }
}

function findError(lines: readonly JsonObject[], logFile: string): WeftError {
  const error = lines.findLast((line) => 'error' in line)?.error;
  if (typeof error === 'object' && error !== null && 'message' in error) {
    const hint = 'hint' in error && typeof error.hint === 'string' ? { hint: error.hint } : {};
    return new WeftError('failed_precondition', String(error.message), hint);
  }
  return new WeftError(
    'failed_precondition',
    `the background process ended without an error message, see ${shortPath(logFile)}`,
    { hint: 'check that the machine has enough memory, then try again' },
  );
}
