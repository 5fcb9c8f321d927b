import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** What the sources say is loaded with a file: every static import that leaves something behind, transitively. */
function loadedWith(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const specifier of staticImports(readFileSync(file, 'utf8'))) {
    const name = specifier.match(/^@weft\/([\w-]+)$/)?.[1];
    if (specifier.startsWith('.')) loadedWith(resolve(dirname(file), specifier.replace(/\.js$/, '.ts')), seen);
    else if (name !== undefined) loadedWith(`${repository}/packages/${name}/src/index.ts`, seen).add(specifier);
    else seen.add(specifier);
  }
  return seen;
}

function staticImports(source: string): string[] {
  const statements = source.matchAll(/^(?:import|export)\s(?!type\s)(?:([^'";]*?)\sfrom\s)?'([^']+)';/gm);
  return [...statements].flatMap(([, bindings, specifier]) => {
    const named = bindings?.match(/^\{(.*)\}$/s)?.[1];
    const onlyTypes = named?.split(',').every((name) => name.trim() === '' || name.trim().startsWith('type '));
    return onlyTypes || specifier === undefined ? [] : [specifier];
  });
}

const packagesOf = (file: string) =>
  [...loadedWith(resolve(repository, file))].filter((each) => !each.startsWith('/') && !each.startsWith('node:'));

it('help and version load the parser of arguments, colours, and the packages command-line, common and files, nothing else', () => {
  expect(packagesOf('apps/cli/src/main.ts').toSorted()).toEqual([
    '@weft/command-line',
    '@weft/common',
    '@weft/files',
    'commander',
    'picocolors',
  ]);
});

it('help of the coordinator and of workers loads as little', () => {
  for (const app of ['coordinator', 'worker'])
    expect(packagesOf(`apps/${app}/src/main.ts`).toSorted(), app).toEqual([
      '@weft/command-line',
      '@weft/common',
      '@weft/files',
      'close-with-grace',
      'commander',
    ]);
});

it('commands that only read files or ask a coordinator never load TensorFlow or an image decoder', () => {
  for (const command of ['ls', 'status', 'watch', 'stop', 'resume', 'recipes', 'launch', 'doctor'])
    for (const heavy of [
      '@weft/tensor',
      '@weft/backend-tensorflow',
      '@weft/model',
      '@tensorflow/tfjs',
      'koffi',
      'sharp',
      '@weft/data',
    ])
      expect(packagesOf(`apps/cli/src/commands/${command}.ts`), command).not.toContain(heavy);
});

it('the search finds what it is meant to find', () => {
  expect(packagesOf('apps/cli/src/commands/dry-run.ts')).toContain('@tensorflow/tfjs');
  expect(packagesOf('apps/cli/src/commands/data.ts')).toContain('sharp');
});

it('commands that ask a coordinator do not load the configuration and its schemas', () => {
  for (const command of ['ls', 'status', 'stop', 'queue'])
    for (const heavy of ['@weft/config', '@weft/coordination', 'zod', 'yaml'])
      expect(packagesOf(`apps/cli/src/commands/${command}.ts`), command).not.toContain(heavy);
});
