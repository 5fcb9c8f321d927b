import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pythonOf } from './peers.js';

const SCRIPT = fileURLToPath(new URL('../all-reduce.mjs', import.meta.url));

/** Runs bench/all-reduce.mjs and returns the JSON it prints. @throws Error when it fails. */
export async function measureAllReduce(withPeers: boolean): Promise<unknown> {
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
  return JSON.parse(output);
}
