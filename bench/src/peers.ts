import { spawnSync } from 'node:child_process';
import type { Peer } from './plan.js';

/** What a peer needs of Python. */
const MODULE: Readonly<Record<Peer, 'torch' | 'jax'>> = {
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

/** Which of the wished peers can run here, and a sentence for each module that is missing. */
export function findPeers(wished: readonly Peer[]): { readonly peers: readonly Peer[]; readonly missing: string[] } {
  const has = new Map<string, boolean>();
  for (const peer of wished) {
    if (has.has(MODULE[peer])) continue;
    const code = `import importlib.util, sys; sys.exit(importlib.util.find_spec("${MODULE[peer]}") is None)`;
    has.set(MODULE[peer], spawnSync(pythonOf(peer), ['-c', code]).status === 0);
  }
  const variable = { torch: 'WEFT_BENCH_PYTHON', jax: 'WEFT_BENCH_JAX_PYTHON' } as const;
  const absent = new Set(wished.map((peer) => MODULE[peer]).filter((module) => has.get(module) === false));
  return {
    peers: wished.filter((peer) => has.get(MODULE[peer])),
    missing: [...absent].map((module) => `${module} is left out: Python has none (${variable[module]} names another)`),
  };
}
