import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
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

/**
 * Of both, the files whose time is spent in waiting: for a heartbeat that stays out, a lease that lapses, a Redis that is
 * away. Two of them run at a time.
 */
const waiting = {
  demanding: ['packages/store/src/**/*.{process,redis}.test.ts', 'apps/coordinator/src/*.redis.test.ts'],
  wholeRuns: ['e2e/{goodput,interrupted-run,queue.redis}.test.ts'],
};
const twoAtATime = { maxWorkers: 2, sequence: { groupOrder: 1 } };
const oneAtATime = { fileParallelism: false };

/** Timings would let bits depend on what else the machine did at a test's first start. The processes of a test inherit it. */
const env = { WEFT_PRODUCT_FORMS: 'fixed' };

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
          env,
          // Loading the packages takes longer than testing them: the files of a process share what is loaded.
          isolate: false,
          maxWorkers: Math.max(2, availableParallelism() - 1),
          testTimeout: 20_000,
          include: [
            '{packages,apps}/*/src/**/*.test.ts',
            'packages/native-setup/src/**/*.test.ts',
            '{scripts,bench/src}/**/*.test.ts',
          ],
          exclude: [...demanding, ...wholeRuns, ...skipped],
        },
      },
      ...[
        { name: 'full', ...oneAtATime, include: demanding, exclude: [...wholeRuns, ...waiting.demanding] },
        { name: 'full-waiting', ...twoAtATime, include: waiting.demanding, exclude: [] },
      ].map(({ exclude, ...own }) => ({
        resolve: { alias },
        test: {
          ...own,
          pool: 'forks' as const,
          env,
          testTimeout: 300_000,
          hookTimeout: 120_000,
          exclude: ['**/node_modules/**', '**/dist/**', ...exclude, ...skipped],
        },
      })),
      ...[
        { name: 'e2e', ...oneAtATime, include: wholeRuns, exclude: waiting.wholeRuns },
        { name: 'e2e-waiting', ...twoAtATime, include: waiting.wholeRuns, exclude: [] },
      ].map(({ exclude, ...own }) => ({
        resolve: { alias },
        test: {
          ...own,
          pool: 'forks' as const,
          env,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          globalSetup: 'e2e/prepare-data.ts',
          exclude: ['**/node_modules/**', '**/dist/**', ...exclude, ...skipped],
        },
      })),
    ],
  },
});
