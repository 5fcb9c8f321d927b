import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

/** Runs one step of a program in a process of its own and prints which shared objects that process has loaded. */
const SCRIPT = `
  import { javascriptExecutor, tf } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
  const spec = { shape: [2], dtype: 'float32' };
  const run = (context) => ({ doubled: tf.mul(context.input('x'), 2) });
  const executor = javascriptExecutor({ name: 'p', state: {}, phases: { step: { inputs: { x: spec }, run } } });
  const { doubled } = await executor.run('step', { x: Float32Array.of(1, 2) });
  const native = process.report.getReport().sharedObjects.filter((path) => path.endsWith('.node') || /tensorflow/.test(path));
  console.log(JSON.stringify({ doubled: [...doubled.data], native }));
`;

it('a program runs in pure JavaScript without any native code being loaded', () => {
  const directory = fileURLToPath(new URL('..', import.meta.url));
  const words = ['--input-type=module', '--eval', SCRIPT];
  const output = execFileSync(process.execPath, words, { cwd: directory, encoding: 'utf8' });
  expect(JSON.parse(output)).toMatchObject({ doubled: [2, 4], native: [] });
});
