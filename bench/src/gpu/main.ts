#!/usr/bin/env node
// `npm run bench:gpu`: the GPU proof kit; with the word `pack` it is made into one archive for a bare host.
import { WeftError } from '@weft/common';
import { runKit } from './kit.js';

try {
  process.exitCode = await bench(process.argv.slice(2));
} catch (thrown) {
  const error = WeftError.from(thrown);
  console.error(error.hint === undefined ? error.message : `${error.message}\n${error.hint}`);
  process.exitCode = 1;
}

async function bench(words: readonly string[]): Promise<number> {
  if (words[0] !== 'pack') return runKit(words);
  // Loaded here alone: the archive has no bundler.
  const { packKit } = await import('./pack.js');
  return packKit(words.slice(1));
}
