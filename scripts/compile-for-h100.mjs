// `node scripts/compile-for-h100.mjs [recipe…]`: compiles the sizes of the paper at full depth for H100s that are not there,
// and prints what a device holds. Takes minutes and up to 20 GB of memory for each.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { requireNode } from './lib/require-node.mjs';
import { ROOT } from './lib/root.mjs';

requireNode();

const SHARED = ['activationCheckpointing=full'];
/** By recipe: the hosts of 8, and the settings. */
const SIZES = {
  'mm1-3b': { hosts: 1, set: ['microbatchSize=8', 'engine.mesh.fsdp=8'] },
  'mm1-7b': { hosts: 1, set: ['microbatchSize=8', 'engine.mesh.fsdp=8'] },
  'mm1-30b': { hosts: 1, set: ['microbatchSize=8', 'engine.mesh.fsdp=8'] },
  'mm1-3b-moe-64e': { hosts: 8, set: ['microbatchSize=64', 'engine.mesh.expert=8', 'engine.mesh.fsdp=8'] },
};

const asked = process.argv.slice(2);
let failed = 0;
for (const [recipe, { hosts, set }] of Object.entries(SIZES)) {
  if (asked.length > 0 && !asked.includes(recipe)) continue;
  const words = ['compile', recipe, '--devices', '8xh100', '--hosts', String(hosts), '--set', ...SHARED, ...set];
  const { status } = spawnSync(process.execPath, [join(ROOT, 'apps/cli/bin/weft.js'), ...words], { stdio: 'inherit' });
  if (status !== 0) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
