import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_SOURCES, type PerSource, perSource } from '@weft/common';
import { withTemporaryDirectory, writeFileAtomically } from '@weft/files';
import { fileBytes, sha256OfFile } from '../files.js';
import type { OnProgress } from '../progress.js';
import { addresses } from './addresses.js';
import { countrySamples } from './countries.js';
import { DEMO_PACKAGES } from './demo-packages.js';
import { emojiSamples } from './emoji.js';
import { npmTarball } from './npm-tarball.js';
import { type WrittenShard, writeJsonLineShards, writeTarShards } from './shard-set.js';

/** Grows when the shards are built differently, so that old ones are rebuilt. */
const DEMO_VERSION = 1;

export interface DemoResult {
  readonly directory: string;
  /** False when the shards were already there, with the bytes they were built with. */
  readonly built: boolean;
  readonly shards: PerSource<number>;
  /** Of all shards together. */
  readonly bytes: number;
}

/** `demo.json`: which shards of the folder are the demo's. */
interface DemoRecord {
  readonly demoVersion: number;
  readonly packages: readonly string[];
  readonly shards: readonly WrittenShard[];
}

/**
 * Builds the demo dataset in `directory`: captioned emoji, interleaved country facts with flags, and addresses as
 * text. Tarballs are kept in `<directory>/cache`. The bytes of the shards are the same every time; a shard appears
 * under its name only when it is whole. When everything is there already, nothing is done.
 *
 * @throws `unavailable` when a tarball cannot be fetched, `corrupt_data` when one is not what was pinned.
 */
export async function fetchDemo(options: {
  readonly directory: string;
  readonly onProgress?: OnProgress;
}): Promise<DemoResult> {
  const { directory } = options;
  const onProgress = options.onProgress ?? (() => undefined);
  await mkdir(directory, { recursive: true });
  const recordPath = join(directory, 'demo.json');
  const before = await readRecord(recordPath);
  if (before !== undefined && (await isWhole(directory, before))) return summarise(directory, before, false);

  const tarballs = await fetchTarballs(join(directory, 'cache'), onProgress);
  return withTemporaryDirectory(join(directory, 'demo'), async (folder) => {
    const shards = await buildShards(folder, tarballs, onProgress);
    const record: DemoRecord = { demoVersion: DEMO_VERSION, packages: packageNames(), shards };
    // Without its record the folder counts as not built, until the last shard is in place.
    await rm(recordPath, { force: true });
    for (const { source, name } of before?.shards ?? []) await rm(join(directory, source, name), { force: true });
    for (const source of DEFAULT_SOURCES) await mkdir(join(directory, source), { recursive: true });
    for (const { source, name } of shards) await rename(join(folder, source, name), join(directory, source, name));
    await writeFileAtomically(recordPath, `${JSON.stringify(record, null, 2)}\n`);
    return summarise(directory, record, true);
  });
}

type Tarballs = Readonly<Record<keyof typeof DEMO_PACKAGES, string>>;

async function fetchTarballs(cache: string, onProgress: OnProgress): Promise<Tarballs> {
  const total = Object.keys(DEMO_PACKAGES).length;
  let done = 0;
  const fetch = async (which: keyof typeof DEMO_PACKAGES) => {
    const wanted = DEMO_PACKAGES[which];
    const what = `${wanted.name} ${wanted.version} (${Math.round(wanted.bytes / 1e6)} MB)`;
    const path = await npmTarball(wanted, cache, () =>
      onProgress({ phase: 'download', what, done, total, unit: 'packages' }),
    );
    done++;
    return path;
  };
  const tarballs = {
    addresses: await fetch('addresses'),
    countries: await fetch('countries'),
    emoji: await fetch('emoji'),
  };
  return tarballs;
}

async function buildShards(folder: string, tarballs: Tarballs, onProgress: OnProgress): Promise<WrittenShard[]> {
  const total = DEFAULT_SOURCES.length;
  for (const source of DEFAULT_SOURCES) await mkdir(join(folder, source));
  onProgress({ phase: 'build', what: 'captioned: emoji', done: 0, total, unit: 'shards' });
  const captioned = await writeTarShards(folder, 'captioned', 'emoji', emojiSamples(tarballs.emoji));
  onProgress({ phase: 'build', what: 'interleaved: countries', done: 1, total, unit: 'shards' });
  const interleaved = await writeTarShards(folder, 'interleaved', 'countries', countrySamples(tarballs.countries));
  onProgress({ phase: 'build', what: 'text: addresses', done: 2, total, unit: 'shards' });
  const text = await writeJsonLineShards(folder, 'text', 'addresses', await addresses(tarballs.addresses));
  onProgress({ phase: 'build', what: 'done', done: total, total, unit: 'shards' });
  return [...captioned, ...interleaved, ...text];
}

function packageNames(): readonly string[] {
  return Object.values(DEMO_PACKAGES).map(({ name, version, license }) => `${name}@${version} (${license})`);
}

async function readRecord(path: string): Promise<DemoRecord | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch {
    // Missing or damaged: the demo is built anew.
    return undefined;
  }
  return isRecord(value) ? value : undefined;
}

function isRecord(value: unknown): value is DemoRecord {
  if (typeof value !== 'object' || value === null || !('demoVersion' in value) || !('shards' in value)) return false;
  return value.demoVersion === DEMO_VERSION && Array.isArray(value.shards) && value.shards.every(isShard);
}

function isShard(value: unknown): value is WrittenShard {
  if (typeof value !== 'object' || value === null || !('source' in value) || !('name' in value)) return false;
  const isPlace =
    DEFAULT_SOURCES.some((source) => source === value.source) && /^[a-z]+-\d{5}\.(tar|jsonl)$/.test(String(value.name));
  return isPlace && 'bytes' in value && 'sha256' in value;
}

async function isWhole(directory: string, { shards }: DemoRecord): Promise<boolean> {
  for (const { source, name, bytes, sha256 } of shards) {
    const path = join(directory, source, name);
    if ((await fileBytes(path)) !== bytes || (await sha256OfFile(path)) !== sha256) return false;
  }
  return shards.length > 0;
}

function summarise(directory: string, { shards }: DemoRecord, built: boolean): DemoResult {
  return {
    directory,
    built,
    shards: perSource(DEFAULT_SOURCES, (source) => shards.filter((shard) => shard.source === source).length),
    bytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
