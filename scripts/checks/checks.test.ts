import { describe, expect, it, vi } from 'vitest';
import { findingsOfKnip } from './dead-code.mjs';
import { findBrokenPaths } from './doc-paths.mjs';
import { findCrumbs, findLongFiles } from './file-size.mjs';
import { importsOf } from './imports.mjs';
import { CHECKS, runChecks } from './index.mjs';
import { findForbiddenImports, LAYERS } from './layers.mjs';
import { findAddresses } from './lockfile.mjs';
import { readPackages } from './packages.mjs';
import { findRetiredWords } from './retired-words.mjs';
import { findingsOfBiome, findingsOfOxlint } from './tools.mjs';
import { findBrokenWalks } from './walks.mjs';

describe('the checks', () => {
  it('print each finding and how to mend it, and count', async () => {
    const print = vi.spyOn(console, 'log').mockImplementation(() => {});
    try {
      const counts = await runChecks([
        { name: 'no wrong files', hint: 'correct the file', run: () => ['a.ts is wrong', 'b.ts is wrong'] },
        { name: 'nothing', hint: 'do nothing', run: () => [] },
        { name: 'what needs a tool', hint: 'do nothing', run: async () => ({ skipped: 'the tool was not found.' }) },
      ]);
      expect(counts).toEqual({ passed: 1, failed: 1, skipped: 1 });
      expect(
        print.mock.calls.map(([line]) =>
          String(line)
            .trim()
            .replace(/\(.*\)/, ''),
        ),
      ).toEqual([
        'FAILED   no wrong files ',
        'a.ts is wrong',
        'b.ts is wrong',
        'hint: correct the file.',
        'ok       nothing ',
        'skipped  what needs a tool: the tool was not found.',
      ]);
    } finally {
      print.mockRestore();
    }
  });

  it('say all how to mend what they find', () => {
    for (const { hint } of CHECKS) expect(hint).toMatch(/^[a-z].*[^.]$/);
  });
});

const tensor = {
  name: 'tensor',
  folder: 'packages/tensor',
  dependencies: ['@weft/common', '@tensorflow/tfjs'],
  references: ['common'],
};
const backend = {
  name: 'backend-tensorflow',
  folder: 'packages/backend-tensorflow',
  dependencies: ['@weft/tensor', 'koffi'],
  references: ['tensor'],
};
const model = {
  name: 'model',
  folder: 'packages/model',
  dependencies: ['@weft/tensor', '@weft/testing'],
  references: ['tensor'],
};
const inModel = (text: string, path = 'packages/model/src/a.ts') =>
  findForbiddenImports([tensor, backend, model], [{ path, text }]);

describe('the rule of layers', () => {
  it('lets a package import from a layer below that it lists', () => {
    expect(inModel("import { tf } from '@weft/tensor';\nimport './b.js';\nimport { join } from 'node:path';")).toEqual(
      [],
    );
  });

  it('finds imports of packages of the same layer or above', () => {
    expect(inModel("import { x } from '@weft/data';")).toEqual([
      'packages/model/src/a.ts imports @weft/data, which is not in a layer below model',
    ]);
    expect(inModel("export * from '@weft/training';")[0]).toMatch(/not in a layer below model/);
    expect(inModel("const x = await import('@weft/training');")[0]).toMatch(/not in a layer below model/);
    expect(inModel("import type {\n  A,\n} from '@weft/worker';")[0]).toMatch(/not in a layer below model/);
  });

  it('finds imports that package.json or tsconfig.json do not list', () => {
    expect(inModel("import { x } from '@weft/topology';")[0]).toMatch(/package\.json does not list/);
    const unreferenced = { ...model, references: [] };
    const file = { path: 'packages/model/src/a.ts', text: "import { tf } from '@weft/tensor';" };
    expect(findForbiddenImports([unreferenced], [file])[0]).toMatch(/tsconfig\.json does not refer/);
  });

  it('finds lists that name what must not be imported', () => {
    const wrong = { ...tensor, dependencies: ['@weft/model'], references: ['common'] };
    expect(findForbiddenImports([wrong], [])).toEqual([
      'packages/tensor/package.json lists @weft/model, which is not in a layer below tensor',
      'packages/tensor/tsconfig.json refers to common, which its package.json does not list',
    ]);
  });

  it('finds paths into another owner, by name or relative', () => {
    expect(inModel("import { x } from '@weft/tensor/src/tf.js';")[0]).toMatch(/from inside another package/);
    expect(inModel("import { x } from '../../tensor/src/tf.js';")[0]).toMatch(/lies in another package/);
    expect(inModel("import { x } from '../../../scripts/lib/root.mjs';")[0]).toMatch(/lies in another package/);
  });

  it('keeps a package of the registry to the package that owns it', () => {
    for (const name of [
      'koffi',
      '@tensorflow/tfjs',
      '@tensorflow/tfjs-node-gpu/dist/x',
      'pino',
      'zod',
      'yaml',
      'sharp',
    ]) {
      expect(inModel(`import x from '${name}';`)[0]).toMatch(/only [\w-]+ may import/);
    }
    expect(inModel("import x from '@grpc/grpc-js';")[0]).toMatch(/only rpc may import/);
    expect(inModel("import koffi from 'koffi';", 'packages/native/src/koffi.ts')).toEqual([]);
  });

  it('keeps @weft/testing to tests', () => {
    expect(inModel("import { x } from '@weft/testing';", 'packages/model/src/a.test.ts')).toEqual([]);
    expect(inModel("import { x } from '@weft/testing';")[0]).toMatch(/not in a layer below/);
  });

  it('reads imports, and not what comments and texts say of them', () => {
    const text = `// import x from 'a'\n * from 'b'\nimport type { X } from "c";\nimport 'd';\nexport { y } from 'e';
const message = "text from 'f'";\nrequire('g'); // import('h')\nimport z,\n{ w } from 'i';`;
    expect(importsOf(text).sort()).toEqual(['c', 'd', 'e', 'g', 'h', 'i']);
  });

  it('knows the layer of every package there is', () => {
    const known = new Set([...LAYERS.flat(), 'testing']);
    expect(readPackages().filter(({ name }) => !known.has(name))).toEqual([]);
  });
});

describe('paths in documents', () => {
  const exists = (path: string) => ['docs', 'docs/tour.md', 'packages', 'packages/model/src/moe.ts'].includes(path);
  const find = (text: string, path = 'docs/tour.md') =>
    findBrokenPaths([{ path, text }], exists, ['docs', 'packages', 'README.md'], ['build']);

  it('are found when they do not exist, in backticks and links', () => {
    expect(find('see `packages/model/src/moe.ts:12` and `packages/model/src/gone.ts`.')).toEqual([
      'docs/tour.md names packages/model/src/gone.ts, which does not exist',
    ]);
    expect(find('[tour](tour.md#a) [gone](design/gone.md) [web](https://example.org)')).toEqual([
      'docs/tour.md names docs/design/gone.md, which does not exist',
    ]);
  });

  it('may hold patterns, whose beginning must exist, and words that are no paths of ours', () => {
    expect(find('`packages/*/src`, `packages/<owner>`, `a/b.ts`, `x.y`, `4:4:1`')).toEqual([]);
    expect(find('`docs/nowhere/*.md`')).toHaveLength(1);
  });

  it('are not looked for in listings, but npm scripts are', () => {
    expect(find('```\npackages/gone\nnpm run build\n```')).toEqual([]);
    expect(find('```\nnpm run fly\n```')).toEqual([
      'docs/tour.md names npm run fly, which is no script of package.json',
    ]);
  });
});

it('a file of 450 lines is let through, one of 451 is not', () => {
  expect(findLongFiles([{ path: 'a.ts', text: 'x\n'.repeat(450) }])).toEqual([]);
  expect(findLongFiles([{ path: 'a.ts', text: 'x\n'.repeat(451) }])).toEqual(['a.ts has 451 lines']);
});

describe('a small file', () => {
  const small = { path: 'packages/a/src/small.ts', text: 'export const small = 1;\n' };
  const importer = (name: string) => ({
    path: `packages/a/src/${name}`,
    text: `import { small } from './small.js';\n${'more();\n'.repeat(30)}`,
  });

  it('is found when one other file imports it, or none but tests', () => {
    expect(findCrumbs([small, importer('main.ts'), importer('small.test.ts')])).toEqual([
      'packages/a/src/small.ts has 1 lines, and packages/a/src/main.ts alone imports it',
    ]);
    expect(findCrumbs([small, importer('small.test.ts')])).toEqual([
      'packages/a/src/small.ts has 1 lines, and nothing but tests alone imports it',
    ]);
  });

  it('may stay when two import it, or from 30 lines on', () => {
    expect(findCrumbs([small, importer('main.ts'), importer('other.ts')])).toEqual([]);
    const index = { path: 'packages/a/src/index.ts', text: "export { small } from './small.js';\n" };
    const user = (name: string) => ({
      path: `packages/${name}/src/main.ts`,
      text: "import { small } from '@weft/a';\n",
    });
    expect(findCrumbs([small, index, user('b'), user('c')])).toEqual([]);
    expect(findCrumbs([small, index, user('b')])).toHaveLength(1);
    expect(findCrumbs([{ ...small, text: 'x\n'.repeat(30) }, importer('main.ts')])).toEqual([]);
  });
});

it('a retired word is found where it stands as a word of its own, with the one that is used now', () => {
  const retired = { Bell: 'Notifier', 'held out by': 'kept by' };
  const text = 'class Bell {}\n// Belling is fine, doorBell too\nit is held out by nobody';
  expect(findRetiredWords([{ path: 'a.ts', text }], retired)).toEqual([
    'a.ts:1 says Bell; the word is Notifier',
    'a.ts:3 says held out by; the word is kept by',
  ]);
});

it('what knip finds becomes a sentence each', () => {
  const issue = { file: 'a.ts', exports: [{ name: 'x' }], duplicates: [[{ name: 'b' }, { name: 'c' }]], files: [] };
  const unlisted = { file: 'package.json', dependencies: [{ name: 'left-pad' }], files: [{ name: 'package.json' }] };
  expect(findingsOfKnip(JSON.stringify({ issues: [issue, unlisted] }))).toEqual([
    'a.ts has an export that no file imports: x',
    'a.ts exports twice b and c',
    'package.json is imported by no file',
    'package.json lists the dependency left-pad',
  ]);
});

describe('a walk of the tour', () => {
  const code = [
    { path: 'apps/a/src/main.ts', text: "import { b } from '@weft/b';" },
    { path: 'packages/b/src/index.ts', text: "export { b } from './b.js';" },
    { path: 'packages/b/src/b.ts', text: "import type { C } from './c.js';" },
    { path: 'packages/b/src/c.ts', text: '' },
  ];
  const tour = (...lines: string[]) => ({ path: 'docs/tour.md', text: `# Tour\n\n## Down\n\n${lines.join('\n')}\n` });
  const find = (...lines: string[]) => findBrokenWalks(tour(...lines), code, { Down: 3 });
  const [first, second, third] = [
    '1. `apps/a/src/main.ts`: a',
    '2. `packages/b/src/b.ts`: b',
    '3. `packages/b/src/c.ts`',
  ];

  it('goes from a file to one that it imports, or that imports it, through an index or not', () => {
    expect(find(first, second, third)).toEqual([]);
    expect(find(third, second, first)).toEqual([]);
    expect(find(first, third)).toEqual([
      'docs/tour.md, "Down": no file before packages/b/src/c.ts imports it or is imported by it',
    ]);
    expect(find(first, `${third}, on the wire: c`)).toEqual([]);
  });

  it('leads from the caller of an interface to what implements it', () => {
    const withPort = [
      { path: 'a/caller.ts', text: "import type { Port } from './port.js';" },
      { path: 'a/port.ts', text: 'export interface Port {}' },
      { path: 'a/one.ts', text: "import type { Port } from './port.js';" },
      { path: 'a/other.ts', text: '' },
    ];
    const walk = (file: string) =>
      findBrokenWalks(tour('1. `a/caller.ts`: a', `2. \`${file}\`, behind \`Port\`: b`), withPort, { Down: 2 });
    expect(walk('a/one.ts')).toEqual([]);
    expect(walk('a/other.ts')).toEqual(['docs/tour.md, "Down": Port does not lead to a/other.ts']);
  });

  it('is found when it is missing, empty or too long', () => {
    expect(findBrokenWalks(tour(), code, { Up: 3 })).toEqual(['docs/tour.md has no section "Up"']);
    expect(find()).toEqual(['docs/tour.md, "Down": 0 files, of 1 to 3']);
    expect(findBrokenWalks(tour(first, second, third), code, { Down: 2 })).toEqual([
      'docs/tour.md, "Down": 3 files, of 1 to 2',
    ]);
  });
});

it('a lockfile may link to a workspace, but not to an address', () => {
  const lock = {
    packages: { 'node_modules/a': { resolved: 'apps/a', link: true }, b: { resolved: 'https://x.example/b.tgz' } },
  };
  expect(findAddresses(JSON.stringify(lock))).toEqual(['b is locked to an address']);
});

it('the findings of the linters become one line each', () => {
  const root = new URL('../..', import.meta.url).pathname;
  const biome = `::error title=lint/a/b,file=${root}apps/x.ts,line=3,endLine=3,col=7,endColumn=9::It is: wrong.`;
  expect(findingsOfBiome(biome)).toEqual(['apps/x.ts:3 It is: wrong. (lint/a/b)']);
  const oxlint = 'apps/x.ts:3:17: Promises must be awaited. [Error/typescript(no-floating-promises)]\n\n1 problem\n';
  expect(findingsOfOxlint(oxlint)).toEqual([
    'apps/x.ts:3 Promises must be awaited. (typescript(no-floating-promises))',
  ]);
});
