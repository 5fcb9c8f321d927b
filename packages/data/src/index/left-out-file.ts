import { appendFileSync, createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isJsonObject, type PerSource, WeftError } from '@weft/common';
import { fileBytes, isMissing } from '@weft/files';
import { type LeftOut, LeftOutCounts, type LeftOutReason } from '../formats/left-out.js';
import type { IndexManifest } from './manifest.js';

const BUFFER_CHARACTERS = 64 * 1024;

/**
 * Writes `left-out.jsonl` of an index: one line `{"name", "reason", "inside"}` for everything in the data directory that
 * is not in the index. `inside` is true for what lies inside a shard, which has `shard` and `key` too; samples
 * that should have been read have a `detail`. It is no part of the identity of the dataset.
 */
export class LeftOutFile {
  readonly counts = new LeftOutCounts();
  readonly #path: string;
  #waiting = '';

  /** Begins the file in `folder` with the files and folders that are not read. */
  constructor(folder: string, files: readonly LeftOut[]) {
    this.#path = leftOutPath(folder);
    for (const each of files) this.#add(each, false);
  }

  /** Adds a member of a shard or an empty document. */
  add(what: LeftOut): void {
    this.#add(what, true);
  }

  /**
   * Adds what lay inside the shards of an index that grows. The file may name other shards too: those of a process that was killed
   * before it had written the manifest.
   */
  async addFormer(folder: string, { sources }: Pick<IndexManifest, 'sources'>): Promise<void> {
    if (!(await hasLeftOutFile(folder))) return;
    const shards = new Set(
      Object.entries(sources).flatMap(([source, indexed]) => indexed.shards.map(({ name }) => `${source}/${name}`)),
    );
    for await (const line of createInterface({ input: createReadStream(leftOutPath(folder)) })) {
      const each: unknown = line === '' ? undefined : JSON.parse(line);
      if (!isJsonObject(each) || each.inside !== true || typeof each.name !== 'string') continue;
      const [source = ''] = each.name.split('/', 1);
      // An older version did not name the shard by itself.
      if (typeof each.shard === 'string' && !shards.has(`${source}/${each.shard}`)) continue;
      if (typeof each.reason === 'string') this.counts.add({ name: each.name, reason: each.reason });
      this.#waiting += `${line}\n`;
      if (this.#waiting.length > BUFFER_CHARACTERS) this.finish();
    }
  }

  /** Writes what is still in memory. */
  finish(): void {
    appendFileSync(this.#path, this.#waiting);
    this.#waiting = '';
  }

  #add({ name, reason, shard, key, detail }: LeftOut, inside: boolean): void {
    this.counts.add({ name, reason });
    this.#waiting += `${JSON.stringify({ name, reason, inside, shard, key, detail })}\n`;
    if (this.#waiting.length > BUFFER_CHARACTERS) this.finish();
  }
}

/** Whether the index was made by a version that reads all formats of today and writes `left-out.jsonl`. */
export async function hasLeftOutFile(folder: string): Promise<boolean> {
  return (await fileBytes(leftOutPath(folder))) !== undefined;
}

/**
 * What is left out of an index that is there: the files and folders of now, and what lay inside the shards. An index of
 * an older version does not know the latter.
 */
export async function readLeftOut(folder: string, files: readonly LeftOut[]): Promise<readonly LeftOutReason[]> {
  const counts = new LeftOutCounts();
  for (const each of files) counts.add(each);
  const content = await readFile(leftOutPath(folder), 'utf8').catch((thrown: unknown) => {
    if (isMissing(thrown)) return '';
    throw WeftError.from(thrown);
  });
  for (const line of content.split('\n')) {
    const each: unknown = line === '' ? undefined : JSON.parse(line);
    if (!isJsonObject(each) || each.inside !== true) continue;
    if (typeof each.name === 'string' && typeof each.reason === 'string')
      counts.add({ name: each.name, reason: each.reason });
  }
  return counts.reasons;
}

/** The files of a dataset that were not read when the index was made: paths below the data directory. */
export async function readLeftOutFiles(folder: string): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  if (!(await hasLeftOutFile(folder))) return names;
  for await (const line of createInterface({ input: createReadStream(leftOutPath(folder)) })) {
    const each: unknown = line === '' ? undefined : JSON.parse(line);
    // Files come first.
    if (!isJsonObject(each) || each.inside === true) break;
    if (typeof each.name === 'string') names.add(each.name);
  }
  return names;
}

/** How many reasons of a source are told apart; the others are counted together. */
const MOST_REASONS = 20;

/** How much of what lay inside the shards is left out, by source and reason; a source without any is not there. */
export async function countBadSamples(folder: string): Promise<PerSource<Readonly<Record<string, number>>>> {
  const counts: Record<string, Record<string, number>> = {};
  if (!(await hasLeftOutFile(folder))) return counts;
  for await (const line of createInterface({ input: createReadStream(leftOutPath(folder)) })) {
    const each: unknown = line === '' ? undefined : JSON.parse(line);
    if (!isJsonObject(each) || each.inside !== true) continue;
    if (typeof each.name !== 'string' || typeof each.reason !== 'string') continue;
    const [source = ''] = each.name.split('/', 1);
    const ofSource = counts[source] ?? {};
    const isKnown = each.reason in ofSource || Object.keys(ofSource).length < MOST_REASONS;
    const reason = isKnown ? each.reason : 'other';
    ofSource[reason] = (ofSource[reason] ?? 0) + 1;
    counts[source] = ofSource;
  }
  return counts;
}

export const LEFT_OUT_FILE = 'left-out.jsonl';

const leftOutPath = (folder: string) => join(folder, LEFT_OUT_FILE);
