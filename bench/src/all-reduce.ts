import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pythonOf } from './candidates.js';
import { formatTable } from './render.js';

const SCRIPT = fileURLToPath(new URL('../all-reduce.mjs', import.meta.url));

/** Bytes of the vector over the median time of one all-reduce, in GB/s. */
export interface AllReduceResult {
  readonly processes: number;
  readonly mib: number;
  readonly gigabytesPerSecond: { readonly weft: number; readonly gloo?: number };
}

/** Runs bench/all-reduce.mjs and returns what it measured, PyTorch's gloo included if wished. @throws Error when it fails. */
export async function measureAllReduce(withPeers: boolean): Promise<readonly AllReduceResult[]> {
  const child = spawn(process.execPath, [SCRIPT, '--json', ...(withPeers ? ['--peers'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PYTHON: pythonOf('torch-ddp') },
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += String(data);
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`bench/all-reduce.mjs ended with status ${code}`);
  const { results }: { results: readonly AllReduceResult[] } = JSON.parse(output);
  return results;
}

/** A table; the columns of gloo only where it took part. */
export function renderAllReduce(results: readonly AllReduceResult[]): string {
  const hasGloo = results.some(({ gigabytesPerSecond }) => gigabytesPerSecond.gloo !== undefined);
  const titles = ['processes', 'MiB', 'weft GB/s', ...(hasGloo ? ['gloo GB/s', 'weft ×'] : [])];
  const rows = results.map(({ processes, mib, gigabytesPerSecond: { weft, gloo } }) => [
    `${processes}`,
    `${mib}`,
    weft.toFixed(2),
    ...(gloo === undefined ? [] : [gloo.toFixed(2), (weft / gloo).toFixed(2)]),
  ]);
  return `all-reduce\n${formatTable(
    titles.map((title) => ({ title, align: 'right' })),
    rows,
  )}`;
}
