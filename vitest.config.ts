import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const rooms = ['packages', 'apps'].flatMap((floor) => readdirSync(at(floor)).map((room) => ({ floor, room })));

/** Tests run on the sources: no build is needed before `npm run test:fast`. */
const alias = Object.fromEntries(
  rooms.map(({ floor, room }) => [`@weft/${room}`, at(`${floor}/${room}/src/index.ts`)]),
);

/** A test file says in its name what it needs: `x.tensorflow.test.ts`, `x.process.test.ts`, `x.redis.test.ts`. */
const demanding = ['**/*.{tensorflow,process,redis,browser,promtool,python}.test.ts'];
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
          // Loading the rooms takes longer than testing them: the files of a process share what is loaded.
          isolate: false,
          testTimeout: 20_000,
          include: [
            '{packages,apps}/*/src/**/*.test.ts',
            'packages/engine/setup/**/*.test.ts',
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
