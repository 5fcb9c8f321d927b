// `node scripts/pjrt-plugin.mjs`: finds or fetches the PJRT plugin of this host's accelerator, and says what was chosen and
// why. `--cpu` fetches the CPU plugin that tests use.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./lib/native.mjs')]).then(([{ runScript, Stages }, native]) =>
  runScript(async () => {
    const isForTests = process.argv.includes('--cpu');
    await new Stages(1).run('PJRT plugin', (report) => native.setUpPjrtPlugin(report, isForTests));
    return 0;
  }),
);
