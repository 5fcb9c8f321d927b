import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { withTemporaryDirectory } from '@weft/files';
import { fileBytes } from '../files.js';
import type { DemoPackage } from './demo-packages.js';

/** The file name npm gives a tarball: `@scope/name` becomes `scope-name`. */
export function tarballName({ name, version }: DemoPackage): string {
  return `${name.replace(/^@/, '').replace('/', '-')}-${version}.tgz`;
}

/**
 * The tarball of a package, from `cache` or else through `npm pack` with whatever registry npm is set up to use. Its
 * bytes are compared with the pinned hash either way, so a tarball may also be put into `cache` by hand.
 *
 * @param onDownload called before something is downloaded.
 * @throws `unavailable` when npm cannot fetch it, `corrupt_data` when what it fetched is not what was pinned.
 */
export async function npmTarball(wanted: DemoPackage, cache: string, onDownload: () => void): Promise<string> {
  const path = join(cache, tarballName(wanted));
  if (await hasIntegrity(path, wanted.integrity)) return path;
  onDownload();
  return withTemporaryDirectory(path, async (folder) => {
    await npmPack(`${wanted.name}@${wanted.version}`, folder, path);
    const [downloaded] = await readdir(folder);
    if (downloaded === undefined || !(await hasIntegrity(join(folder, downloaded), wanted.integrity)))
      throw new WeftError(
        'corrupt_data',
        `npm delivered another ${wanted.name}@${wanted.version} than the one pinned`,
        {
          cure: `check the registry npm uses (npm config get registry), or put the right ${tarballName(wanted)} into ${cache}`,
        },
      );
    await rename(join(folder, downloaded), path);
    return path;
  });
}

async function hasIntegrity(path: string, integrity: string): Promise<boolean> {
  if ((await fileBytes(path)) === undefined) return false;
  const hash = createHash('sha512');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return `sha512-${hash.digest('base64')}` === integrity;
}

async function npmPack(spec: string, folder: string, cachePath: string): Promise<void> {
  const patience = ['--fetch-retries=2', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000'];
  const arguments_ = ['pack', spec, '--pack-destination', '.', '--ignore-scripts', '--loglevel=error', ...patience];
  const npm = spawn('npm', arguments_, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  npm.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000);
  });
  const problem = await new Promise<string | undefined>((resolve) => {
    npm.once('error', (thrown) => resolve(thrown.message));
    npm.once('close', (code) => resolve(code === 0 ? undefined : lastSentence(said, `npm ended with code ${code}`)));
  });
  if (problem !== undefined)
    throw new WeftError('unavailable', `npm could not fetch ${spec}: ${problem}`, {
      cure: `connect this machine to a package registry, or run npm pack ${spec} on one that is and put the file at ${cachePath}`,
    });
}

/** npm explains itself over several lines; the one with the reason does not name a log file or a code. */
function lastSentence(said: string, otherwise: string): string {
  const lines = said.split('\n').map((line) => line.replace(/^npm (error|ERR!)\s*/, '').trim());
  return (
    lines.find((line) => /request to|not found|notarget|E[A-Z]{4,}/i.test(line) && !line.startsWith('code ')) ??
    otherwise
  );
}
