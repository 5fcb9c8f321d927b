import { type FileHandle, open } from 'node:fs/promises';
import { type MetricsRow, parseMetricsRow } from '@weft/contracts';
import { isMissing } from '@weft/files';

/** How much of `metrics.jsonl` is read at a time. */
const CHUNK_BYTES = 4 * 2 ** 20;
const LINE_FEED = 0x0a;

/** The whole lines of a file from a byte offset on, at which a line begins; a line that is no row has none. */
export async function* rowsFrom(
  path: string,
  offset: number,
): AsyncGenerator<{ readonly row: MetricsRow | undefined; readonly start: number; readonly end: number }> {
  const file = await openIfThere(path);
  if (file === undefined) return;
  try {
    let start = offset;
    let size = CHUNK_BYTES;
    for (;;) {
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(size), 0, size, start);
      const chunk = buffer.subarray(0, bytesRead);
      let from = 0;
      for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
        const row = parseMetricsRow(chunk.toString('utf8', from, at));
        yield { row, start: start + from, end: start + at + 1 };
        from = at + 1;
      }
      if (bytesRead < size) return;
      // A line that is longer than what was read.
      size = from === 0 ? size * 2 : CHUNK_BYTES;
      start += from;
    }
  } finally {
    await file.close();
  }
}

/** The line that begins at an offset, without its line feed. */
export async function lineAt(file: FileHandle, offset: number): Promise<string> {
  for (let size = 16 * 1024; ; size *= 4) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, offset);
    const end = buffer.subarray(0, bytesRead).indexOf(LINE_FEED);
    if (end >= 0 || bytesRead < size) return buffer.toString('utf8', 0, end >= 0 ? end : bytesRead);
  }
}

/** Undefined where there is no such file. */
export function openIfThere(path: string): Promise<FileHandle | undefined> {
  return open(path).catch((thrown: unknown) => {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  });
}
