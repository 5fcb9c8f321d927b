import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock, WeftError } from '@weft/common';
import { Home, shortPath } from '@weft/files';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { say } from '../terminal.js';
import { WEFT_SCRIPT } from '../weft-script.js';

const POLL_MS = 100;

/**
 * `--local N --detach`: runs the same command without `--detach` in a process of its own, which stays with the run,
 * its coordinator and its workers to the end. Returns as soon as the run is under way there.
 */
export async function launchInBackground(context: CommandContext, args: readonly string[]): Promise<number> {
  const { terminal, home, json } = context;
  await mkdir(new Home(home).logsDirectory, { recursive: true });
  const logFile = join(
    new Home(home).logsDirectory,
    `${new Date().toISOString().replaceAll(/[:.]/g, '')}-detached.log`,
  );
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, [WEFT_SCRIPT, ...args, '--json', '--home', home], {
    stdio: ['ignore', log, log],
    // Not an argument: a URL may hold a password, and arguments are seen by everybody on the machine.
    env: { ...terminal.env, ...(context.redisUrl === undefined ? {} : { WEFT_REDIS_URL: context.redisUrl }) },
    detached: true,
  });
  closeSync(log);
  child.unref();
  let hasEnded = false;
  child.once('exit', () => (hasEnded = true));
  child.once('error', () => (hasEnded = true));
  for (;;) {
    const isLast = hasEnded;
    const lines = (await readFile(logFile, 'utf8')).split('\n').flatMap(parsed);
    const beginning = lines.find(({ type }) => type === 'launched' || type === 'resumed');
    if (beginning !== undefined) {
      if (json) say(terminal, JSON.stringify({ ...beginning, log: logFile }));
      else {
        say(terminal, `${beginning.runId} trains in the background; log in ${shortPath(logFile)}.`);
        say(terminal, `Follow it with ${terminal.commandName} watch ${beginning.runId}`);
      }
      return EXIT.done;
    }
    if (isLast) throw errorIn(lines, logFile);
    await systemClock.sleep(POLL_MS);
  }
}

type LogLine = Readonly<Record<string, unknown>>;

function parsed(line: string): LogLine[] {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? [{ ...value }] : [];
  } catch {
    return [];
  }
}

function errorIn(lines: readonly LogLine[], logFile: string): WeftError {
  const error = lines.findLast((line) => 'error' in line)?.error;
  if (typeof error === 'object' && error !== null && 'message' in error) {
    const cure = 'cure' in error && typeof error.cure === 'string' ? { cure: error.cure } : {};
    return new WeftError('failed_precondition', String(error.message), cure);
  }
  return new WeftError('internal', `the background process ended without a word, see ${shortPath(logFile)}`);
}
