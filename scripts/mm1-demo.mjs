// `npm run mm1-demo`: the paper in small, on this machine. A second start goes on where the first one stopped.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./lib/mm1-demo/demo.mjs')]).then(([{ runScript }, { mm1Demo }]) =>
  runScript(() => mm1Demo(process.argv.slice(2))),
);
