import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diskStore } from '@weft/files';
import { temporaryDirectory } from '@weft/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { writeTar } from '../testing/tiny-dataset.js';
import { BlobCursor, StreamCursor } from './byte-cursor.js';
import { buildTarHeader } from './tar-header.js';
import { type TarEntry, walkTar } from './walk-tar.js';

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function entriesOf(bytes: Uint8Array): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  for await (const entry of walkTar(new StreamCursor(inChunks(bytes, 700)), 'x.tar')) entries.push(entry);
  return entries;
}

/** A member whose header is changed by `change`, its checksum made right again, between two intact ones. */
function archiveWith(change: (header: Buffer) => void, content: string | Uint8Array = 'hello'): Buffer {
  const member = (name: string, bytes: Uint8Array, edit: (header: Buffer) => void = () => undefined) => {
    const header = Buffer.from(buildTarHeader(name, bytes.length));
    edit(header);
    header.fill(' ', 148, 156);
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
      'latin1',
    );
    return Buffer.concat([header, bytes, Buffer.alloc(-bytes.length & 511)]);
  };
  const intact = Buffer.from('intact');
  return Buffer.concat([
    member('a.txt', intact),
    member('b.txt', Buffer.from(content), change),
    member('c.txt', intact),
    Buffer.alloc(1024),
  ]);
}

const named = (name: string) => (header: Buffer) => {
  header.fill(0, 0, 100);
  header.write(name);
};
const namedBytes = (bytes: readonly number[]) => (header: Buffer) => {
  header.fill(0, 0, 100);
  header.set(bytes, 0);
};
const typed = (type: string) => (header: Buffer) => void header.write(type, 156);

describe('tar archives', () => {
  it('come back as they were written, from a file by offset and from a stream in any chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 1500 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 2000 }),
        async (contents, chunk) => {
          await using folder = await temporaryDirectory();
          const path = join(folder.path, 'a.tar');
          await writeTar(
            path,
            contents.map((content, i) => [`folder/${i}.bin`, content]),
          );
          const bytes = await readFile(path);
          const streamed: Uint8Array[] = [];
          const cursor = new StreamCursor(inChunks(bytes, chunk));
          for await (const entry of walkTar(cursor, path)) streamed.push(await cursor.read(entry.bytes));
          expect(streamed.map((content) => [...content])).toEqual(contents.map((content) => [...content]));

          const blob = await diskStore.open(path);
          const found: TarEntry[] = [];
          for await (const entry of walkTar(new BlobCursor(blob), path)) found.push(entry);
          await blob.close();
          for (const [i, { name, offset, bytes: length }] of found.entries()) {
            expect(name).toBe(`folder/${i}.bin`);
            expect([...bytes.subarray(offset, offset + length)]).toEqual([...contents[i]!]);
          }
          expect(found).toHaveLength(contents.length);
        },
      ),
      { numRuns: 20 },
    );
  });

  it.each([
    ['Latin-1', [0x63, 0x61, 0x66, 0xe9, 0x2e, 0x74, 0x78, 0x74], 'café.txt'],
    ['UTF-8', [0x63, 0x61, 0x66, 0xc3, 0xa9, 0x2e, 0x74, 0x78, 0x74], 'café.txt'],
    ['Latin-1 letters alone', [0xe4, 0xf6, 0xfc], 'äöü'],
    ['a folder and a file in Latin-1', [0xe9, 0x2f, 0xe8, 0x2e, 0x61], 'é/è.a'],
    ['ASCII', [0x61, 0x2e, 0x62], 'a.b'],
  ])('may have names in %s', async (_, bytes, name) => {
    expect((await entriesOf(archiveWith(namedBytes(bytes)))).map((entry) => entry.name)).toEqual([
      'a.txt',
      name,
      'c.txt',
    ]);
  });

  it('may leave members unread, hold folders, and start names with ./', async () => {
    expect(await entriesOf(archiveWith(named('./b.txt')))).toEqual([
      { name: 'a.txt', offset: 512, bytes: 6 },
      { name: 'b.txt', offset: 1536, bytes: 5 },
      { name: 'c.txt', offset: 2560, bytes: 6 },
    ]);
    const folder = await entriesOf(archiveWith(typed('5'), ''));
    expect(folder.map(({ name }) => name)).toEqual(['a.txt', 'c.txt']);
  });

  it('may give names and sizes in extension records', async () => {
    const long = `${'d/'.repeat(80)}b.txt`;
    const gnu = await entriesOf(archiveWith(typed('L'), `${long}\0`));
    expect(gnu.map(({ name }) => name)).toEqual(['a.txt', long]);
    const pax = await entriesOf(archiveWith(typed('x'), '15 path=é.txt\n9 size=6\n'));
    expect(pax.at(-1)).toEqual({ name: 'é.txt', offset: 2560, bytes: 6 });
  });

  it('are refused when a header was changed', async () => {
    const bytes = archiveWith(() => undefined);
    bytes[1024 + 3] = 0x41;
    await expect(entriesOf(bytes)).rejects.toMatchObject({
      code: 'corrupt_data',
      message: 'the tar archive x.tar is damaged at byte 1024: the checksum of its header is wrong',
    });
  });

  it.each(['../b.txt', '/etc/passwd', 'a/../../b', 'a\\b', 'a\nb', ''])(
    'are refused with the member name %j',
    async (name) => {
      await expect(entriesOf(archiveWith(named(name)))).rejects.toThrow('is not allowed');
    },
  );

  it.each(['1', '2', '3', '6', 'S'])(
    'are refused with a member of type %s: a link, a device, a sparse file',
    async (type) => {
      await expect(entriesOf(archiveWith(typed(type)))).rejects.toThrow('"b.txt" is not a file');
    },
  );

  it('are refused when a size is absurd, before memory is taken', async () => {
    const huge = (header: Buffer) => {
      header.fill(0, 124, 136);
      header[124] = 0x80;
      header.writeUIntBE(2 ** 47, 130, 6);
    };
    await expect(entriesOf(archiveWith(huge))).rejects.toThrow(`inside b.txt, which claims ${2 ** 47} bytes`);
    const nonsense = (header: Buffer) => void header.write('9zz', 124);
    await expect(entriesOf(archiveWith(nonsense))).rejects.toThrow('its size is not a number');
    const record = (header: Buffer) => {
      header.write('x', 156);
      header.write('77777777777\0', 124);
    };
    await expect(entriesOf(archiveWith(record))).rejects.toThrow('an extension record claims 8589934591 bytes');
  });

  it('are refused when they are cut off, wherever that is', async () => {
    const bytes = archiveWith(() => undefined);
    for (const length of [0, 100, 512, 600, 1024, 1540, bytes.length - 1024, bytes.length - 512, bytes.length - 1])
      await expect(entriesOf(bytes.subarray(0, length))).rejects.toThrow('x.tar is cut off');
  });

  it('are refused with data behind the end mark, with a broken pax record, and when compressed', async () => {
    const bytes = archiveWith(() => undefined);
    await expect(entriesOf(Buffer.concat([bytes, bytes]))).rejects.toThrow('there is data behind the end mark');
    await expect(entriesOf(archiveWith(typed('x'), '99 path=b\n'))).rejects.toThrow('pax record is malformed');
    await expect(entriesOf(archiveWith(typed('x'), '12 size=1e9\n'))).rejects.toThrow('its pax size is "1e9"');
    await expect(entriesOf(Buffer.from([0x1f, 0x8b, ...new Array<number>(600).fill(7)]))).rejects.toThrow('gzip');
  });

  it('never make the reader throw anything but a clear error, whatever bytes are flipped', async () => {
    const intact = archiveWith(() => undefined);
    await fc.assert(
      fc.asyncProperty(fc.nat(intact.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const bytes = Buffer.from(intact);
        bytes[at] = bytes[at]! ^ mask;
        await entriesOf(bytes).catch((thrown: unknown) => expect(thrown).toMatchObject({ code: 'corrupt_data' }));
      }),
    );
  });

  it('are not written with a name that does not fit', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'a.tar');
    await writeFile(path, '');
    await expect(writeTar(path, [])).rejects.toMatchObject({ code: 'EEXIST' });
    expect(() => buildTarHeader('n'.repeat(101), 0)).toThrow(RangeError);
  });
});
