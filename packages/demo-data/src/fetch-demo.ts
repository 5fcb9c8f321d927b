import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_SOURCES, type PerSource, perSource } from '@weft/common';
import type { OnProgress } from '@weft/data';
import { fileBytes, makeDirectory, sha256OfFile, withTemporaryDirectory, writeJsonFile } from '@weft/files';
import { type DemoConversations, demoConversations } from './conversations.js';
import { countrySamples } from './countries.js';
import { DEMO_PACKAGES, npmTarball } from './demo-packages.js';
import { emojiSamples } from './emoji.js';
import { readTarball } from './read-tarball.js';
import { type WrittenShard, writeJsonLineShards, writeTarShards } from './write-shards.js';

/** Increase it when the shards are built differently, so that old ones are rebuilt. */
const DEMO_VERSION = 2;

/** The folders of the demo: the sources of pre-training, and conversations of fine-tuning, the last ones never to train on. */
const DEMO_SOURCES = [...DEFAULT_SOURCES, 'conversations', 'heldOutConversations'] as const;

/** The demo dataset after `fetchDemo`. */
export interface DemoResult {
  readonly directory: string;
  /** False when all shards were already there, unchanged. */
  readonly built: boolean;
  /** Number of shards of every source of pre-training. */
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
 * Builds the demo dataset in `directory`: captioned emoji, interleaved country facts with flags, State of the Union addresses
 * as text, and conversations about emoji, some of which are never to be trained on. Tarballs are cached in `<directory>/cache`. The shards are deterministic and appear under their
 * names when they are complete. Does nothing when all of them are there already.
 *
 * @throws WeftError `unavailable` when a tarball cannot be fetched, `corrupt_data` when its hash is not the pinned one
 */
export async function fetchDemo(options: {
  readonly directory: string;
  readonly onProgress?: OnProgress;
}): Promise<DemoResult> {
  const { directory } = options;
  const onProgress = options.onProgress ?? (() => undefined);
  await makeDirectory(directory);
  const recordPath = join(directory, 'demo.json');
  const before = await readRecord(recordPath);
  if (before !== undefined && (await isComplete(directory, before))) return summarise(directory, before, false);

  const tarballs = await fetchTarballs(join(directory, 'cache'), onProgress);
  return withTemporaryDirectory(join(directory, 'demo'), async (folder) => {
    const shards = await buildShards(folder, tarballs, onProgress);
    const record: DemoRecord = { demoVersion: DEMO_VERSION, packages: packageNames(), shards };
    // Without this record the demo counts as missing, until the last shard is in place.
    await rm(recordPath, { force: true });
    for (const { source, name } of before?.shards ?? []) await rm(join(directory, source, name), { force: true });
    for (const source of DEMO_SOURCES) await makeDirectory(join(directory, source));
    for (const { source, name } of shards) await rename(join(folder, source, name), join(directory, source, name));
    await writeJsonFile(recordPath, record);
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
  return {
    addresses: await fetch('addresses'),
    countries: await fetch('countries'),
    emoji: await fetch('emoji'),
  };
}

async function buildShards(folder: string, tarballs: Tarballs, onProgress: OnProgress): Promise<WrittenShard[]> {
  const total = DEFAULT_SOURCES.length + 1;
  for (const source of DEMO_SOURCES) await mkdir(join(folder, source));
  onProgress({ phase: 'build', what: 'captioned: emoji', done: 0, total, unit: 'shards' });
  const captioned = await writeTarShards(folder, 'captioned', 'emoji', emojiSamples(tarballs.emoji));
  onProgress({ phase: 'build', what: 'interleaved: countries', done: 1, total, unit: 'shards' });
  const interleaved = await writeTarShards(folder, 'interleaved', 'countries', countrySamples(tarballs.countries));
  onProgress({ phase: 'build', what: 'text: addresses', done: 2, total, unit: 'shards' });
  const text = await writeJsonLineShards(folder, 'text', 'addresses', await addresses(tarballs.addresses));
  onProgress({ phase: 'build', what: 'conversations: emoji', done: 3, total, unit: 'shards' });
  const { train, heldOut } = await demoConversations(emojiSamples(tarballs.emoji));
  const conversations = [
    ...(await writeConversations(folder, 'conversations', train)),
    ...(await writeConversations(folder, 'heldOutConversations', heldOut)),
  ];
  onProgress({ phase: 'build', what: 'done', done: total, total, unit: 'shards' });
  return [...captioned, ...interleaved, ...text, ...conversations];
}

async function writeConversations(
  folder: string,
  source: (typeof DEMO_SOURCES)[number],
  { conversations, pictures }: DemoConversations,
): Promise<WrittenShard[]> {
  return [
    ...(await writeJsonLineShards(folder, source, 'emoji', conversations)),
    ...(await writeTarShards(folder, source, 'pictures', pictures)),
  ];
}

/** A file of the package of addresses. */
interface Address {
  readonly year: number;
  readonly name: string;
  readonly text: string;
}

/** Text documents: the State of the Union addresses, oldest first. */
export async function addresses(
  tarball: string,
): Promise<readonly { readonly title: string; readonly text: string }[]> {
  const found: { file: string; title: string; text: string }[] = [];
  for await (const { name, content } of readTarball(tarball, (name) => /^data\/\d{4}_.*\.json$/.test(name))) {
    const address = JSON.parse(content.toString('utf8')) as Address;
    found.push({ file: name, title: `State of the Union, ${address.year}, ${address.name}`, text: address.text });
  }
  return found.sort((a, b) => (a.file < b.file ? -1 : 1)).map(({ title, text }) => ({ title, text }));
}

function packageNames(): readonly string[] {
  return Object.values(DEMO_PACKAGES).map(({ name, version, license }) => `${name}@${version} (${license})`);
}

async function readRecord(path: string): Promise<DemoRecord | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch {
    // Missing or damaged: the demo is rebuilt.
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
  const isValidPath =
    DEMO_SOURCES.some((source) => source === value.source) && /^[a-z]+-\d{5}\.(tar|jsonl)$/.test(String(value.name));
  return isValidPath && 'bytes' in value && 'sha256' in value;
}

async function isComplete(directory: string, { shards }: DemoRecord): Promise<boolean> {
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
