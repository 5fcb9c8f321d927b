import { createReadStream } from 'node:fs';

/** One line of a file: its text without the line feed, where it starts, and where the next one starts. */
export interface FileLine {
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** False for a last line that lacks its line feed. */
  readonly whole: boolean;
}

const LINE_FEED = 0x0a;

/** The lines of a file from a byte offset on, where a line begins; in constant memory. */
export async function* readLines(path: string, offset = 0): AsyncGenerator<FileLine> {
  let start = offset;
  let pending: Buffer[] = [];
  const stream = createReadStream(path, { start: offset });
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
      const line = Buffer.concat([...pending, chunk.subarray(from, at)]);
      pending = [];
      from = at + 1;
      yield { text: line.toString(), start, end: start + line.length + 1, whole: true };
      start += line.length + 1;
    }
    if (from < chunk.length) pending.push(chunk.subarray(from));
  }
  const rest = Buffer.concat(pending);
  if (rest.length > 0) yield { text: rest.toString(), start, end: start + rest.length, whole: false };
}
