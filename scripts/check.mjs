// `npm run check`: what is checked without running anything. A failing check prints its cure.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./checks/index.mjs')]).then(
  ([{ runScript }, { CHECKS, OPEN_CHECKS, runChecks }]) =>
    runScript(async () => {
      const checks = process.argv.includes('--all') ? [...CHECKS, ...OPEN_CHECKS] : CHECKS;
      return (await runChecks(checks)).failed === 0 ? 0 : 1;
    }),
);
