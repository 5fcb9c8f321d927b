// `node scripts/native-library.mjs`: finds or fetches the TensorFlow library, and prints what was chosen and why.
import { requireNode } from './lib/require-node.mjs';

requireNode();
void Promise.all([import('./lib/stage.mjs'), import('./lib/native.mjs')]).then(([{ runScript, Stages }, native]) =>
  runScript(async () => {
    await new Stages(1).run('TensorFlow library', native.setUpTensorFlow);
    return 0;
  }),
);
