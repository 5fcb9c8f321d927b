import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Executable } from '../native/executable.js';
import { type CacheLimits, ExecutableCache } from './executable-cache.js';

/** In place of a device: a compiled program is its text, in upper case. */
class FakeClient {
  readonly platform = 'test';
  readonly platformVersion = '1';
  readonly firstDevice = { id: 0, kind: 'test', pointer: 0n };
  readonly plugin = { apiVersion: '0.1', path: '/plugin.so', attributes: () => ({}) };
  readonly compiled: string[] = [];
  readonly loaded: string[] = [];
  running = 0;
  mostRunning = 0;

  async compile(text: string): Promise<Executable> {
    this.mostRunning = Math.max(this.mostRunning, ++this.running);
    await new Promise(setImmediate);
    this.running--;
    this.compiled.push(text);
    return { serialize: () => Buffer.from(text.toUpperCase()) } as unknown as Executable;
  }

  async load(program: Uint8Array): Promise<Executable> {
    const text = Buffer.from(program).toString();
    if (text !== text.toUpperCase()) throw new Error('not a program');
    this.loaded.push(text);
    return {} as Executable;
  }
}

let folder: TemporaryDirectory;
let client: FakeClient;
beforeEach(async () => {
  folder = await temporaryDirectory();
  client = new FakeClient();
});
afterEach(() => folder.remove());

const directory = () => join(folder.path, 'executables');
const entries = () => readdirSync(directory()).map((name) => join(directory(), name));
const cache = (more: { readonly limits?: CacheLimits; readonly cores?: number } = {}) =>
  new ExecutableCache({ client, options: {}, directory: directory(), ...more });

/** Compiles one program after the other. @returns the path of each */
async function keep(texts: readonly string[]): Promise<string[]> {
  const paths: string[] = [];
  for (const text of texts) {
    await cache().compile(text);
    paths.push(entries().find((path) => !paths.includes(path)) ?? '');
  }
  return paths;
}

/** Makes an entry as if it had been used that long ago. */
function age(path: string | undefined, seconds: number): void {
  const then = Date.now() / 1000 - seconds;
  utimesSync(path ?? '', then, then);
}

describe('compiled programs', () => {
  test('are compiled once; the next start loads them', async () => {
    const first = cache();
    expect((await first.compile('a')).isNew).toBe(true);
    expect((await first.compile('b')).isNew).toBe(true);
    const [again, other] = await Promise.all(['a', 'b'].map((text) => cache().compile(text)));
    expect([again?.isNew, other?.isNew]).toEqual([false, false]);
    expect(client.compiled).toEqual(['a', 'b']);
    expect(client.loaded.toSorted()).toEqual(['A', 'B']);
  });

  test.each([
    ['cut short', (entry: Buffer) => entry.subarray(0, -1)],
    ['changed in a bit', (entry: Buffer) => Buffer.from(entry.map((byte, i) => (i === 33 ? byte ^ 1 : byte)))],
    ['empty', () => Buffer.alloc(0)],
  ])('that are %s on disk never reach the plugin, and are written again', async (_, damage) => {
    const [path = ''] = await keep(['text']);
    writeFileSync(path, damage(readFileSync(path)));
    expect((await cache().compile('text')).isNew).toBe(true);
    expect(client.loaded).toEqual([]);
    expect((await cache().compile('text')).isNew).toBe(false);
  });

  test('that the plugin does not take are compiled and written again', async () => {
    await keep(['text']);
    const load = client.load.bind(client);
    client.load = () => Promise.reject(new Error('of another version'));
    expect((await cache().compile('text')).isNew).toBe(true);
    client.load = load;
    expect((await cache().compile('text')).isNew).toBe(false);
  });

  test('may be wanted by several at once', async () => {
    await Promise.all(Array.from({ length: 8 }, () => cache().compile('text')));
    expect(entries()).toHaveLength(1);
    expect((await cache().compile('text')).isNew).toBe(false);
  });

  test('are compiled although nothing can be kept', async () => {
    writeFileSync(join(folder.path, 'file'), '');
    const nowhere = new ExecutableCache({ client, options: {}, directory: join(folder.path, 'file', 'below') });
    expect((await nowhere.compile('text')).isNew).toBe(true);
  });

  test('are compiled at the same time only where there are cores, and never on all threads', async () => {
    const texts = Array.from({ length: 6 }, (_, i) => `program ${i}`);
    const one = cache({ cores: 1 });
    await Promise.all(texts.map((text) => one.compile(text)));
    expect(client.mostRunning).toBe(1);
    const many = cache({ cores: 64 });
    await Promise.all(texts.map((text) => many.compile(`${text} again`)));
    expect(client.mostRunning).toBeLessThanOrEqual(3);
    expect(client.compiled).toHaveLength(12);
  });
});

describe('what is kept is bounded', () => {
  const entryBytes = 32 + 'a'.length;

  test('those used longest ago go when there are too many', async () => {
    const paths = await keep(['a', 'b', 'c']);
    for (const [i, path] of paths.entries()) age(path, 100 - i);
    // A use makes the oldest one the newest.
    await cache().compile('a');
    await cache({ limits: { bytes: 3 * entryBytes, ageMs: 1e9 } }).compile('d');
    expect(entries()).toHaveLength(3);
    expect(entries()).not.toContain(paths[1]);
    expect(entries()).toContain(paths[0]);
  });

  test('one alone stays, however large it is', async () => {
    await cache({ limits: { bytes: 1, ageMs: 1e9 } }).compile('large');
    expect(entries()).toHaveLength(1);
    await cache({ limits: { bytes: 1, ageMs: 1e9 } }).compile('larger');
    expect(entries()).toHaveLength(1);
    expect((await cache().compile('larger')).isNew).toBe(false);
  });

  test('those not used for long go, and what a dead process left unfinished', async () => {
    const [path] = await keep(['a']);
    age(path, 3600);
    const unfinished = join(directory(), 'a.unfinished');
    const fresh = join(directory(), 'b.unfinished');
    for (const each of [unfinished, fresh]) writeFileSync(each, '');
    age(unfinished, 2 * 3600);
    await cache({ limits: { bytes: 1e9, ageMs: 1_800_000 } }).compile('b');
    expect(entries()).toHaveLength(2);
    expect(entries()).not.toContain(path);
    expect(entries()).toContain(fresh);
  });
});
