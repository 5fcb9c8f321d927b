import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

const BLOCK = 512;

/**
 * A folder as a tar archive (POSIX ustar), the same bytes for the same files: sorted, without times and owners.
 * @param root the folder's name in the archive
 * @throws Error for a path that ustar has no room for
 */
export async function tarOf(folder: string, root: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  const parts: Buffer[] = [];
  for (const path of paths) {
    const [data, { mode }] = [await readFile(path), await stat(path)];
    const isProgram = (mode & 0o100) !== 0;
    parts.push(header(`${root}${path.slice(folder.length)}`, data.length, isProgram ? 0o755 : 0o644), data);
    parts.push(Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

/** The fields of ustar that are not 0, and where they begin. */
function header(name: string, size: number, mode: number): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`${name} is too long for a tar archive`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0');
  block.write(name, 0);
  block.write(octal(mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136);
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}
