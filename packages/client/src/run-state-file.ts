import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { WEFT_VERSION, WeftError } from '@weft/common';
import { applyRecord, parseRunRecord, RUN_STATE_VERSION, type RunState } from '@weft/coordination';
import { Home } from '@weft/files';
import { readLogFileFrom } from '@weft/store';
import { eventsFile } from './run-logs.js';

/** `state.json` beside a run's log: the state after the first `bytes` of the log. A cache that may be deleted. */
interface StateFile {
  /** Another version may read records differently, and replays the log from its start. */
  readonly weftVersion: string;
  readonly bytes: number;
  readonly sequence: number;
  /** The last bytes before `bytes`; they differ when the log was replaced. */
  readonly tail: string;
  readonly state: RunState;
}

/** The version of the meaning of a cached state. */
const VERSION = `${WEFT_VERSION}+${RUN_STATE_VERSION}`;

/** Shorter logs are not cached: they are read in a few milliseconds. */
const MIN_CACHED_BYTES = 256 * 1024;
const TAIL_BYTES = 128;

/**
 * The state that a run's log describes. Of a long log only the lines since the last time are read.
 *
 * @throws WeftError `not_found` when there is no log, `corrupt_data` when the log is empty or the lines read are damaged.
 */
export async function readRunState(home: string, runId: string): Promise<RunState> {
  const log = eventsFile(home, runId);
  const known = await readStateFile(home, runId, log);
  let state = known?.state;
  let { bytes, sequence } = known ?? { bytes: 0, sequence: 0 };
  for await (const entry of readLogFileFrom(log, bytes, sequence + 1)) {
    state = applyRecord(state, parseRunRecord(entry.record));
    bytes = entry.end;
    sequence = entry.sequence;
  }
  if (state === undefined) throw new WeftError('corrupt_data', 'the log of a run is empty');
  if (bytes - (known?.bytes ?? 0) > MIN_CACHED_BYTES) {
    const kept: StateFile = { weftVersion: VERSION, bytes, sequence, tail: await readTail(log, bytes), state };
    await keep(stateFile(home, runId), kept);
  }
  return state;
}

const stateFile = (home: string, runId: string) => `${new Home(home).runDirectory(runId)}/state.json`;

/** Undefined when there is none, or none that fits the log. */
async function readStateFile(home: string, runId: string, log: string): Promise<StateFile | undefined> {
  try {
    const file: unknown = JSON.parse(await readFile(stateFile(home, runId), 'utf8'));
    return isStateFile(file) && (await readTail(log, file.bytes)) === file.tail ? file : undefined;
  } catch {
    return undefined;
  }
}

function isStateFile(value: unknown): value is StateFile {
  if (typeof value !== 'object' || value === null) return false;
  const { weftVersion, bytes, sequence, tail, state }: Partial<Record<keyof StateFile, unknown>> = { ...value };
  return (
    weftVersion === VERSION &&
    Number.isSafeInteger(bytes) &&
    Number.isSafeInteger(sequence) &&
    typeof tail === 'string' &&
    typeof state === 'object' &&
    state !== null
  );
}

/** As Latin-1, because the first byte may be in the middle of a character. */
async function readTail(path: string, bytes: number): Promise<string> {
  const file = await open(path);
  try {
    const start = Math.max(0, bytes - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes - start), 0, bytes - start, start);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await file.close();
  }
}

async function keep(path: string, content: StateFile): Promise<void> {
  const written = `${path}.${process.pid}`;
  try {
    await writeFile(written, JSON.stringify(content));
    await rename(written, path);
  } catch {
    // The home may be read-only, or the disk full: then the next command reads the log again.
  }
}
