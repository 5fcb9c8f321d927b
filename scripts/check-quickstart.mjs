// `node scripts/check-quickstart.mjs`: does the README's promise hold? Clones the committed state into a temporary
// folder with empty caches of our own, runs the quickstart there as a script would, and looks at what it left.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./lib/check-quickstart.mjs')]).then(
  ([{ runScript }, { checkQuickstart }]) => runScript(checkQuickstart),
);
