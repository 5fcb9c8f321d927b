import { join } from 'node:path';
import { systemClock, WeftError } from '@weft/common';
import { makeDirectory, ProcessLock, readJsonFile, writeJsonFile } from '@weft/files';
import type { AcquiredLease, AcquireOptions, Lease } from './lease.js';

const DEFAULT_WAIT_MS = 2000;
const RETRY_MS = 100;

interface Holding {
  readonly token: number;
  readonly lock: ProcessLock;
  readonly lose: (error: WeftError) => void;
}

/**
 * The lease of a home: `coordinator.lock` names the process that has it, `lease.json` the last token and holder. It does
 * not expire: while its holder lives, no other process gets it. When a person removes the lock, the next write notices.
 */
export class FileLease implements Lease {
  readonly #home: string;
  #holding: Holding | undefined;

  constructor(home: string) {
    this.#home = home;
  }

  async acquire(
    holder: string,
    { signal, onWaiting, waitMs = DEFAULT_WAIT_MS }: AcquireOptions = {},
  ): Promise<AcquiredLease> {
    await makeDirectory(this.#home);
    const lock = await this.#lock(waitMs, signal, onWaiting);
    try {
      const token = (await this.#last()).token + 1;
      await writeJsonFile(this.#file, { token, holder });
      const lost = new Promise<WeftError>((lose) => {
        this.#holding = { token, lock, lose };
      });
      return { token, lost, release: () => lock.release() };
    } catch (thrown) {
      await lock.release();
      throw WeftError.from(thrown);
    }
  }

  /** @throws WeftError `failed_precondition` when the lease of this token is lost. */
  async check(token: number): Promise<void> {
    if (this.#holding?.token === token && (await this.#holding.lock.isHeld())) return;
    const error = new WeftError('failed_precondition', `the lease of the home ${this.#home} is not held any more`, {
      hint: 'start the process again',
    });
    if (this.#holding?.token === token) this.#holding.lose(error);
    throw error;
  }

  get #file(): string {
    return join(this.#home, 'lease.json');
  }

  async #lock(
    waitMs: number,
    signal: AbortSignal | undefined,
    onWaiting: AcquireOptions['onWaiting'],
  ): Promise<ProcessLock> {
    let told = '';
    for (const beganMs = systemClock.monotonicMs(); ; ) {
      try {
        return await ProcessLock.acquire(join(this.#home, 'coordinator.lock'), `the home ${this.#home}`);
      } catch (thrown) {
        const error = WeftError.from(thrown);
        if (error.code !== 'failed_precondition' || systemClock.monotonicMs() - beganMs >= waitMs) throw error;
        const { holder } = await this.#last();
        if (holder !== told) onWaiting?.(holder);
        told = holder;
        await systemClock.sleep(RETRY_MS, signal);
      }
    }
  }

  async #last(): Promise<{ token: number; holder: string }> {
    const last = await readJsonFile(this.#file).catch((thrown: unknown) => {
      if (WeftError.is(thrown, 'not_found')) return {};
      throw thrown;
    });
    const { token, holder } = { token: 0, holder: 'another process', ...(last as object) };
    return { token: Number(token), holder: String(holder) };
  }
}
