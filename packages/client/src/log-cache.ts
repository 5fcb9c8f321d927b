import { createHash } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { WEFT_VERSION } from '@weft/common';
import { readJsonFile } from '@weft/files';
import type { LogMark, LogReader } from '@weft/store';

/** What the records of a log come to, one after the other. The state must survive JSON. */
export interface LogFold<State> {
  /** Increased when the same records come to something else. */
  readonly version: number;
  /**
   * Gives what makes the state after one more record; undefined before the first. It may change the state that it is given. Called
   * only when there are records to apply: the modules that it needs take longer to load than a cache to read.
   */
  readonly prepare: () => Promise<(state: State | undefined, record: unknown) => State>;
}

/**
 * A file beside a log: what the log came to up to a mark. A cache that may be deleted; one that is broken, was edited, is of
 * another version or of another log is ignored, and the log is read from its start.
 */
interface CacheFile<State> {
  /** SHA-256 of the rest, as JSON. */
  readonly sha256: string;
  /** Another version may read records differently. */
  readonly weftVersion: string;
  readonly mark: LogMark;
  readonly state: State;
}

/** States of fewer new records are not written: those are read in a few milliseconds. */
const MIN_CACHED_RECORDS = 500;

/**
 * What a log comes to. Of a long log only the records since the last time are read, in files as in Redis.
 *
 * @param path of the cache
 * @returns undefined when the log is empty
 * @throws WeftError `not_found` when there is no log, `corrupt_data` when the records read are damaged.
 */
export async function foldLog<State>(
  path: string,
  log: LogReader,
  { version, prepare }: LogFold<State>,
): Promise<State | undefined> {
  const weftVersion = `${WEFT_VERSION}+${version}`;
  const known = await readCacheFile<State>(path, weftVersion);
  let state: State | undefined;
  let mark: LogMark | undefined;
  let first = 0;
  if (known !== undefined) {
    state = known.state;
    first = known.mark.sequence;
    const records: unknown[] = [];
    mark = await log.readOn(known.mark, (record) => records.push(record));
    const apply = records.length === 0 ? undefined : await prepare();
    for (const record of records) state = apply?.(state, record);
  }
  if (mark === undefined) {
    state = undefined;
    first = 0;
    const apply = await prepare();
    mark = await log.readOn(undefined, (record) => {
      state = apply(state, record);
    });
  }
  if (state === undefined || mark === undefined) return undefined;
  if (mark.sequence - first >= MIN_CACHED_RECORDS) await keep(path, weftVersion, mark, state);
  return state;
}

/** Undefined when there is none that this version can use. */
async function readCacheFile<State>(path: string, version: string): Promise<CacheFile<State> | undefined> {
  const file: unknown = await readJsonFile(path).catch(() => undefined);
  return isCacheFile<State>(file, version) ? file : undefined;
}

function isCacheFile<State>(value: unknown, version: string): value is CacheFile<State> {
  if (typeof value !== 'object' || value === null) return false;
  const { sha256, weftVersion, mark, state }: Partial<Record<keyof CacheFile<State>, unknown>> = { ...value };
  if (weftVersion !== version || !isMark(mark) || typeof state !== 'object' || state === null) return false;
  return sha256 === hashOf(version, mark, state);
}

function isMark(value: unknown): value is LogMark {
  if (typeof value !== 'object' || value === null) return false;
  const { sequence, bytes, tail }: Partial<Record<keyof LogMark, unknown>> = { ...value };
  return Number.isSafeInteger(sequence) && Number.isSafeInteger(bytes) && typeof tail === 'string';
}

function hashOf(weftVersion: string, mark: LogMark, state: unknown): string {
  return createHash('sha256').update(JSON.stringify({ weftVersion, mark, state })).digest('hex');
}

async function keep<State>(path: string, weftVersion: string, mark: LogMark, state: State): Promise<void> {
  const content: CacheFile<State> = { sha256: hashOf(weftVersion, mark, state), weftVersion, mark, state };
  const written = `${path}.${process.pid}`;
  try {
    await writeFile(written, JSON.stringify(content));
    await rename(written, path);
  } catch {
    // The home may be read-only, or the disk full: then the next command reads the log again.
  }
}
