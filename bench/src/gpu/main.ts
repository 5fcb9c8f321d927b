#!/usr/bin/env node
// `npm run bench:gpu`: the GPU proof kit; with the word `pack` it is made into one archive for a bare host.
import { runBench } from '../run-bench.js';
import { runKit } from './kit.js';

await runBench(bench);

async function bench(words: readonly string[]): Promise<number> {
  if (words[0] !== 'pack') return runKit(words);
  // Loaded here alone: the archive has no bundler.
  const { packKit } = await import('./pack.js');
  return packKit(words.slice(1));
}
