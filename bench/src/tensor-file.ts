import { open } from 'node:fs/promises';

const LENGTH_BYTES = 8;

interface Entry {
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/**
 * Calls `take` for each tensor of a fixture. All share one buffer, so that loading leaves nothing behind that would
 * show in the peak memory: `data` is valid until `take` settles.
 */
export async function readTensorFile(
  path: string,
  wanted: (name: string) => boolean,
  take: (name: string, data: Float32Array) => void | Promise<void>,
): Promise<void> {
  await using file = await open(path);
  const length = Buffer.alloc(LENGTH_BYTES);
  await file.read(length, 0, LENGTH_BYTES, 0);
  const header = Buffer.alloc(Number(length.readBigUInt64LE()));
  await file.read(header, 0, header.length, LENGTH_BYTES);
  const { __metadata__: _, ...entries }: Record<string, Entry> = JSON.parse(header.toString('utf8'));
  const tensors = Object.entries(entries).filter(([name]) => wanted(name));
  const buffer = Buffer.alloc(
    Math.max(
      ...tensors.map(
        ([
          ,
          {
            data_offsets: [first, end],
          },
        ]) => end - first,
      ),
    ),
  );
  for (const [
    name,
    {
      data_offsets: [first, end],
    },
  ] of tensors) {
    await file.read(buffer, 0, end - first, LENGTH_BYTES + header.length + first);
    await take(name, new Float32Array(buffer.buffer, buffer.byteOffset, (end - first) / 4));
  }
}
