// `npm run quickstart`: from a fresh clone to a trained small model. Plain Node: nothing is installed yet.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./lib/quickstart.mjs')]).then(([{ runScript }, { quickstart }]) =>
  runScript(() => quickstart(process.argv.slice(2))),
);
