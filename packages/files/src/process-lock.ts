import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { systemClock, WeftError } from '@weft/common';
import { isProcessAlive, startTicks } from './process-identity.js';

interface Holder {
  readonly processId: number;
  /** Start of the process in clock ticks since boot; tells a process from a later one of the same id. */
  readonly startTicks: string;
  readonly hostName: string;
}

const BUSY_RETRIES = 200;
const BUSY_RETRY_MS = 5;

/**
 * "One process at a time", kept by a small file that names its holder. The lock of a process that is dead is taken
 * over; of a process on another host nothing can be known, so its lock is honoured.
 */
export class ProcessLock {
  readonly path: string;
  readonly #claim: string;
  #held = true;

  private constructor(path: string, claim: string) {
    this.path = path;
    this.#claim = claim;
  }

  /**
   * @param what what the lock protects, for the sentence: "the event log …".
   * @throws WeftError `failed_precondition` that names the process that holds it.
   */
  static async acquire(path: string, what: string): Promise<ProcessLock> {
    const result = await claim(path);
    if (typeof result === 'string') return new ProcessLock(path, result);
    throw heldBy(result, path, what);
  }

  /** Whether it still names this holder: a person may have removed it, and another taken it. */
  async isHeld(): Promise<boolean> {
    return this.#held && (await readIfThere(this.path)) === this.#claim;
  }

  /** Gives the lock back; safe to call twice. */
  async release(): Promise<void> {
    if (!this.#held) return;
    this.#held = false;
    await giveBack(this.path, this.#claim);
  }
}

/**
 * Puts a claim of ours at the path and returns it, or returns who holds the lock.
 *
 * Two moves change who holds it, and both happen at most once per holder: a link where there is no file, and, where the
 * holder is dead, a rename over its claim. Between reading a dead claim and renaming, nobody else may do the same, so
 * that move is made under a second lock beside the first, taken by this same function.
 */
async function claim(path: string): Promise<string | Holder> {
  const mine = JSON.stringify({ ...(await thisProcess()), nonce: randomUUID() });
  const own = `${path}.${randomUUID()}`;
  await writeFile(own, mine, { flag: 'wx' });
  try {
    for (let attempt = 0; attempt < BUSY_RETRIES; attempt++) {
      if (await linked(own, path)) return mine;
      const found = await readIfThere(path);
      if (found === undefined) continue;
      const holder = parseHolder(found);
      if (holder !== undefined && (await isAlive(holder))) return holder;
      if (await replaced(found, own, path)) return mine;
    }
  } finally {
    await rm(own, { force: true });
  }
  throw new WeftError('unavailable', `the lock ${path} changes hands all the time`, { hint: 'try again' });
}

/** Renames our file over the claim of a dead process, unless somebody was faster. */
async function replaced(dead: string, own: string, path: string): Promise<boolean> {
  const guard = `${path}.takeover`;
  const guardClaim = await claim(guard);
  if (typeof guardClaim !== 'string') {
    await systemClock.sleep(BUSY_RETRY_MS);
    return false;
  }
  try {
    if ((await readIfThere(path)) !== dead) return false;
    await rename(own, path);
    return true;
  } finally {
    await giveBack(guard, guardClaim);
  }
}

/** A link appears whole or not at all: nobody ever reads a half-written claim. */
async function linked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function giveBack(path: string, mine: string): Promise<void> {
  if ((await readIfThere(path)) === mine) await unlink(path);
}

const readIfThere = (path: string) => readFile(path, 'utf8').catch(() => undefined);

async function thisProcess(): Promise<Holder> {
  return { processId: process.pid, startTicks: (await startTicks(process.pid)) ?? '', hostName: hostname() };
}

async function isAlive({ processId, startTicks: ticks, hostName }: Holder): Promise<boolean> {
  return hostName !== hostname() || isProcessAlive(processId, ticks);
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { processId, startTicks: ticks, hostName }: Record<string, unknown> = JSON.parse(text);
    const sound = Number.isInteger(processId) && typeof ticks === 'string' && typeof hostName === 'string';
    return sound ? { processId: Number(processId), startTicks: ticks, hostName } : undefined;
  } catch {
    return undefined;
  }
}

function heldBy({ processId, hostName }: Holder, path: string, what: string): WeftError {
  if (hostName !== hostname()) {
    return new WeftError('failed_precondition', `${what} is in use by process ${processId} on ${hostName}`, {
      hint: `stop that process, or remove ${path} if it is gone`,
    });
  }
  const who = processId === process.pid ? 'this very process' : `process ${processId}`;
  return new WeftError('failed_precondition', `${what} is in use by ${who}`, { hint: 'stop that process first' });
}
