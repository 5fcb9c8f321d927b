import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMissing } from '@weft/files';
import type { Content } from './http.js';

/** Where `npm run build` puts the files of apps/dashboard. */
const BUILT_PAGE = fileURLToPath(new URL('../../../dashboard/dist/page/', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const NOT_BUILT =
  '<!doctype html><html lang="en"><title>Weft</title><p>The web page is not built: run <code>npm run build</code> and ' +
  'open it again.</p></html>\n';

/**
 * The files of the page by their paths, read once: they are small. Without a build, `/` is one sentence that says so.
 *
 * @param directory default: that of the build.
 */
export async function readStaticFiles(directory = BUILT_PAGE): Promise<ReadonlyMap<string, Content>> {
  const files = new Map<string, Content>();
  for (const path of await listFiles(directory)) {
    const name = `/${relative(directory, path).split(sep).join('/')}`;
    const type = TYPES[extname(path)] ?? 'application/octet-stream';
    files.set(name, { type, bytes: await readFile(path), isImmutable: name.startsWith('/assets/') });
  }
  const index = files.get('/index.html') ?? { type: TYPES['.html']!, bytes: Buffer.from(NOT_BUILT) };
  return files.set('/', index);
}

async function listFiles(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  } catch (thrown) {
    if (isMissing(thrown)) return [];
    throw thrown;
  }
}
