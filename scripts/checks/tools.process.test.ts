import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { findDeadCode } from './dead-code.mjs';
import { runBiome } from './tools.mjs';

/** Writes the files of a small project. */
async function write(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(join(directory, 'src'));
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
}

it('files that import each other are refused, type imports included', async () => {
  await using directory = await temporaryDirectory();
  const rules = JSON.parse(await readFile(new URL('../../biome.json', import.meta.url), 'utf8'));
  await write(directory.path, {
    'biome.json': JSON.stringify({ ...rules, vcs: { enabled: false } }, null, 2).concat('\n'),
    'src/a.ts': "import type { B } from './b.js';\n\nexport type A = B | 1;\n",
    'src/b.ts': "import type { A } from './a.js';\n\nexport type B = A[];\n",
    'src/c.ts': "import type { B } from './b.js';\n\nexport type C = B;\n",
  });
  const found = (await runBiome(directory.path)).filter((line) => line.includes('noImportCycles'));
  expect(found.map((line) => /src\/\w\.ts:\d/.exec(line)?.[0]).sort()).toEqual(['src/a.ts:1', 'src/b.ts:1']);
});

it('dead exports, files and dependencies are refused', async () => {
  await using directory = await temporaryDirectory();
  await write(directory.path, {
    'package.json': JSON.stringify({ name: 'x', type: 'module', dependencies: { 'left-pad': '1.3.0' } }),
    'src/index.ts': "import { used } from './used.js';\n\nconsole.log(used);\n",
    'src/used.ts': 'export const used = 1;\nexport const dead = 2;\n',
    'src/unused.ts': 'export const unused = 1;\n',
  });
  expect((await findDeadCode(directory.path)).sort()).toEqual([
    'package.json lists the dependency left-pad',
    'src/unused.ts is imported by no file',
    'src/used.ts has an export that no file imports: dead',
  ]);
});
