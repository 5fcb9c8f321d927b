// The programs that the bench starts: its own processes, and Python's.
import { fileURLToPath } from 'node:url';
import type { Peer } from './plan.js';

/** A process of ours, by its file beside this one. */
export const processScript = (name: string) => fileURLToPath(new URL(`./${name}`, import.meta.url));
export const peerScript = (name: string) => fileURLToPath(new URL(`../peers/${name}`, import.meta.url));

export const MEASURED_PROCESS = processScript('measured-process.js');

/** What a peer needs of Python. */
export const MODULE: Readonly<Record<Peer, 'torch' | 'jax'>> = {
  'torch-eager': 'torch',
  'torch-compile': 'torch',
  'torch-ddp': 'torch',
  jax: 'jax',
};

/** The Python that runs a peer. */
export function pythonOf(peer: Peer): string {
  const own = process.env.WEFT_BENCH_PYTHON ?? 'python3';
  return MODULE[peer] === 'jax' ? (process.env.WEFT_BENCH_JAX_PYTHON ?? own) : own;
}
