import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const packages = ['packages', 'apps']
  .flatMap((folder) => readdirSync(at(folder)).map((name) => ({ name, index: at(`${folder}/${name}/src/index.ts`) })))
  .filter(({ index }) => existsSync(index));

/** Tests run on the sources: no build is needed before `npm run test:fast`. */
const alias = Object.fromEntries(packages.map(({ name, index }) => [`@weft/${name}`, index]));

/** A test file says in its name what it needs: `x.tensorflow.test.ts`, `x.process.test.ts`, `x.redis.test.ts`. */
const demanding = ['**/*.{tensorflow,pjrt,process,redis,browser,promtool,python}.test.ts'];
/** Whole runs, on the demo data. */
const wholeRuns = ['e2e/**/*.test.ts'];

/** `npm test` names here what cannot run on this host, having said so. */
const skipped = process.env.WEFT_SKIPPED_TESTS?.split(',') ?? [];

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          name: 'fast',
          pool: 'forks',
          // Loading the packages takes longer than testing them: the files of a process share what is loaded.
          isolate: false,
          testTimeout: 20_000,
          include: [
            '{packages,apps}/*/src/**/*.test.ts',
            'packages/tensorflow-setup/src/**/*.test.ts',
            '{scripts,bench/src}/**/*.test.ts',
          ],
          exclude: [...demanding, ...wholeRuns, ...skipped],
        },
      },
      {
        resolve: { alias },
        test: {
          name: 'full',
          pool: 'forks',
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          include: demanding,
          exclude: ['**/node_modules/**', '**/dist/**', ...wholeRuns, ...skipped],
        },
      },
      {
        resolve: { alias },
        test: {
          name: 'e2e',
          pool: 'forks',
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
          globalSetup: 'e2e/prepare-data.ts',
          include: wholeRuns,
          exclude: ['**/node_modules/**', '**/dist/**', ...skipped],
        },
      },
    ],
  },
});
