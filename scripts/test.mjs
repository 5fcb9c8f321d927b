// `npm test`: installs what it needs, builds, checks, and runs every test. Plain Node: nothing is installed yet.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./lib/test.mjs')]).then(([{ runScript }, { test }]) =>
  runScript(() => test(process.argv.slice(2))),
);
