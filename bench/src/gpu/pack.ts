import { chmod, copyFile, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { bytes, refuse, WEFT_VERSION } from '@weft/common';
import { writeFileAtomically } from '@weft/files';
import { rolldown } from 'rolldown';
import { parse, wholeNumber } from '../arguments.js';
import { tarOf } from './tar.js';

const PACK_USAGE = `npm run bench:gpu -- pack [options]     makes one archive that runs on a bare GPU host

  --out FILE           (default: bench/results/weft-gpu-kit.tar.gz)
  --compression N      of gzip, from 1 to 9 (default: 9)
  --help

The host needs Python with JAX's CUDA plugin, and PyTorch for its part; no network, no npm:
  tar xzf weft-gpu-kit.tar.gz && weft-gpu-kit/run
Where there is no tar: python3 -m tarfile -e weft-gpu-kit.tar.gz`;

/** The archive may have so much. */
const LARGEST_BYTES = 60 * 2 ** 20;
/** The folder in the archive. */
const ROOT = 'weft-gpu-kit';

/** Makes the archive. @returns the exit code @throws WeftError for a Node that does not run by itself */
export async function packKit(words: readonly string[]): Promise<number> {
  const values = parse(words, {
    out: { type: 'string' },
    compression: { type: 'string', default: '9' },
    help: { type: 'boolean', default: false },
  });
  if (values.help) {
    console.log(PACK_USAGE);
    return 0;
  }
  const out = resolve(values.out ?? fileURLToPath(new URL('../../results/weft-gpu-kit.tar.gz', import.meta.url)));
  const level = wholeNumber('--compression', values.compression, 1);
  requireStandaloneNode();
  const folder = await mkdtemp(join(tmpdir(), 'weft-gpu-kit-'));
  try {
    await layOut(folder);
    const archive = await promisify(gzip)(await tarOf(folder, ROOT), { level });
    if (archive.length > LARGEST_BYTES) {
      refuse('failed_precondition', `the archive has ${bytes(archive.length)}, more than ${bytes(LARGEST_BYTES)}`);
    }
    await mkdir(dirname(out), { recursive: true });
    await writeFileAtomically(out, archive);
    console.log(`${out}: ${bytes(archive.length)}`);
    return 0;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A distribution's Node may need libraries of its own, which a bare host has not. */
function requireStandaloneNode(): void {
  const shared = Object.entries(process.config.variables).filter(([name, value]) => {
    return name.startsWith('node_shared') && (value === true || value === 'true');
  });
  if (process.platform === 'linux' && shared.length === 0) return;
  const why =
    process.platform === 'linux' ? `it needs ${shared.map(([name]) => name).join(', ')}` : 'it is not for Linux';
  refuse(
    'failed_precondition',
    `${process.execPath} cannot go into the archive: ${why}`,
    'pack with a Node of nodejs.org',
  );
}

/** `run`, `bin/node`, `app/dist` with the bundle, `app/peers`, `app/node_modules/koffi`, `chips`. */
async function layOut(folder: string): Promise<void> {
  const bench = fileURLToPath(new URL('../..', import.meta.url));
  await mkdir(join(folder, 'bin'));
  await copyFile(process.execPath, join(folder, 'bin/node'));
  await chmod(join(folder, 'bin/node'), 0o755);
  await bundle(join(folder, 'app/dist'));
  await cp(join(bench, 'peers'), join(folder, 'app/peers'), {
    recursive: true,
    filter: (path) => !path.includes('__pycache__'),
  });
  await cp(join(bench, '../packages/backend-pjrt/chips'), join(folder, 'chips'), { recursive: true });
  await copyKoffi(join(folder, 'app/node_modules'));
  await writeFile(join(folder, 'app/package.json'), `${JSON.stringify({ type: 'module', version: WEFT_VERSION })}\n`);
  await writeFile(join(folder, 'run'), RUN, { mode: 0o755 });
}

/** Results lie in the folder from which it is called. */
const RUN = `#!/bin/sh
# Checks Weft on this machine's GPU and measures it: ./run --help
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/bin/node" "$here/app/dist/kit.js" "$@"
`;

/** The programs of the archive. What looks for a file beside itself is bundled into `kit.js`, as high as it was. */
const BUNDLED = {
  kit: 'gpu/main.js',
  'measured-process': 'measured-process.js',
  'gpu/ops-process': 'gpu/ops-process.js',
  'gpu/model-process': 'gpu/model-process.js',
  'gpu/nccl-process': 'gpu/nccl-process.js',
} as const;

async function bundle(directory: string): Promise<void> {
  const dist = fileURLToPath(new URL('..', import.meta.url));
  const build = await rolldown({
    input: Object.fromEntries(Object.entries(BUNDLED).map(([name, file]) => [name, join(dist, file)])),
    platform: 'node',
    // Of the servers that tests start nothing is used here, and they read files where they are loaded.
    treeshake: { moduleSideEffects: [{ test: /\/packages\/testing\//, sideEffects: false }] },
    external: ['koffi', /\/pack\.js$/],
    plugins: [withoutImages(), withKernels()],
    logLevel: 'silent',
  });
  await build.write({ dir: directory, format: 'esm', entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' });
  await build.close();
}

/** koffi's JavaScript, and its native file for this machine alone of some twenty. */
async function copyKoffi(directory: string): Promise<void> {
  const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url));
  const native = `@koromix/koffi-linux-${process.arch}`;
  // Without its sources in C++, and without the native file for musl.
  const isWanted = (path: string) =>
    !/\/(vendor|doc|lib|musl_\w+)$/.test(path) && !/\.(md|cc|hh|inc|S|asm)$/.test(path);
  for (const name of ['koffi', native]) {
    await cp(join(modules, name), join(directory, name), { recursive: true, filter: isWanted });
  }
}

/** The data pipeline decodes images with a native library, which batches of noise do without. */
function withoutImages() {
  const name = '\\0sharp';
  return {
    name: 'without-images',
    resolveId: (id: string) => (id === 'sharp' ? name : null),
    load: (id: string) =>
      id === name ? "export default () => { throw new Error('the GPU kit reads no images'); };" : null,
  };
}

/** tfjs-node's kernels are required at run time, by a name that is put together; a bundler wants it written out. */
function withKernels() {
  return {
    name: 'with-kernels',
    transform: (code: string, id: string) => {
      if (!id.endsWith('/tensor/dist/kernel-backend.js')) return null;
      const written = code
        .replace('const require = createRequire(import.meta.url);', '')
        .replaceAll(/require\(`\$\{PACKAGE\}([^`]+)`\)/g, "require('@tensorflow/tfjs-node-gpu$1')");
      if (/createRequire\(|`\$\{PACKAGE\}/.test(written))
        refuse('internal', `${id} requires in a way that is not bundled`);
      return written;
    },
  };
}
