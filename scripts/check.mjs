// `npm run check`: what is checked without running anything. A failing check prints its hint.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./checks/index.mjs')]).then(([{ runScript }, { runChecks }]) =>
  runScript(async () => ((await runChecks()).failed === 0 ? 0 : 1)),
);
