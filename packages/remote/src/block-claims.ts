import { randomBytes } from 'node:crypto';
import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep, systemErrorCode } from '@weft/common';
import { isProcessAlive, startTicks } from '@weft/files';

const POLL_MS = 50;
/** Whether the owner of a claim still lives is looked up this often. */
const POLLS_PER_LOOK = 10;
/** An owner that lives but does not get on is not waited for longer. */
const LONGEST_WAIT_MS = 120_000;

/**
 * Lets one process of a host fetch a block while the others wait for it. A claim is a hard link to a file that names its
 * process, so that it appears whole or not at all, and ends with its process. It saves work and nothing depends on it: where
 * links cannot be made, everyone fetches.
 */
export class BlockClaims {
  readonly #directory: string;
  readonly #pause: (durationMs: number) => Promise<void>;
  #owner: Promise<string> | undefined;

  constructor(directory: string, pause: (durationMs: number) => Promise<void> = sleep) {
    this.#directory = directory;
    this.#pause = pause;
  }

  /**
   * @param block the path of the block
   * @param isThere whether somebody else has fetched it meanwhile
   * @returns the release of the claim; undefined when the block is there
   */
  async take(block: string, isThere: () => Promise<boolean>): Promise<(() => Promise<void>) | undefined> {
    const claim = `${block}.claim`;
    for (let waitedMs = 0, polls = 1; ; polls++) {
      const taken = await this.#link(claim);
      if (taken !== 'other') {
        // Whoever had it before may have fetched it just now.
        if (!(await isThere())) return taken === 'own' ? () => rm(claim, { force: true }) : async () => undefined;
        if (taken === 'own') await rm(claim, { force: true });
        return undefined;
      }
      if (waitedMs >= LONGEST_WAIT_MS) return async () => undefined;
      if (polls % POLLS_PER_LOOK === 1 && !(await hasOwner(claim))) {
        await rm(claim, { force: true });
        continue;
      }
      await this.#pause(POLL_MS);
      waitedMs += POLL_MS;
    }
  }

  async #link(claim: string): Promise<'own' | 'other' | 'impossible'> {
    this.#owner ??= ownerFile(this.#directory);
    try {
      await link(await this.#owner, claim);
      return 'own';
    } catch (thrown) {
      const code = systemErrorCode(thrown);
      // Somebody who does not see this process has removed it: the next claim has a new one.
      if (code === 'ENOENT') this.#owner = undefined;
      return code === 'EEXIST' ? 'other' : 'impossible';
    }
  }
}

/** Process and start of what an owner file stands for. */
const OWNER = /^\.owner-(\d+)-(\w+)-[0-9a-f]{12}$/;

async function ownerFile(directory: string): Promise<string> {
  const ticks = await startTicks(process.pid);
  const path = join(directory, `.owner-${process.pid}-${ticks}-${randomBytes(6).toString('hex')}`);
  await writeFile(path, `${process.pid} ${ticks}`, { flag: 'wx', mode: 0o600 });
  return path;
}

/** Removes the files of processes that have ended from the folder of the claims. */
export async function removeAbandonedOwners(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    const [, processId, ticks] = OWNER.exec(name) ?? [];
    if (processId === undefined || ticks === undefined) continue;
    if (!(await isProcessAlive(Number(processId), ticks))) await rm(join(directory, name), { force: true });
  }
}

/** Removes a claim whose process has ended. Its age says nothing: it is that of the process. */
export async function removeAbandonedClaim(claim: string): Promise<void> {
  if (!(await hasOwner(claim))) await rm(claim, { force: true });
}

/** Whether a claim is there and its process lives. */
async function hasOwner(claim: string): Promise<boolean> {
  const text = await readFile(claim, 'utf8').catch(() => '');
  const [processId = '', ticks = ''] = text.split(' ');
  return /^\d+$/.test(processId) && (await isProcessAlive(Number(processId), ticks));
}
