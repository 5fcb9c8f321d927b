import { createExecutor, describeNativeLibrary } from '@weft/backend-tensorflow';
import { WeftError } from '@weft/common';
import { shortPath } from '@weft/files';
import { type Program, tf } from '@weft/tensor';
import type { Check } from './check.js';

/** A product of two matrices through the whole engine: record, compile, run. */
const trial: Program = {
  name: 'doctor',
  state: {},
  phases: {
    multiply: {
      inputs: { a_NN: { shape: [2, 2], dtype: 'float32' } },
      run: (context) => ({ square_NN: tf.matMul(context.input('a_NN'), context.input('a_NN')) }),
    },
  },
};

/** The engine, proven by a small computation rather than by the presence of files. */
export async function engineChecks(): Promise<Check[]> {
  const native = await nativeCheck();
  const javascript = await javascriptCheck();
  return [...native, javascript];
}

async function nativeCheck(): Promise<Check[]> {
  const name = 'TensorFlow';
  try {
    const library = describeNativeLibrary();
    if (!library.found) return [{ name, status: 'missing', finding: library.reason, hint: library.hint }];
    const { version, variant, directory, reason } = library;
    const described = `${version ?? 'of unknown version'}${variant === 'unknown' ? '' : `, ${variant} build`}`;
    return [
      { name, status: 'ok', finding: described },
      { name: 'library', status: 'ok', finding: `${shortPath(directory)} (${reason.replace(/\.$/, '')})` },
      { name: 'engine', status: 'ok', finding: await runTrial('graph') },
    ];
  } catch (thrown) {
    const { message, hint } = WeftError.from(thrown);
    return [{ name, status: 'missing', finding: message, hint: hint ?? 'run npm run quickstart, which sets it up' }];
  }
}

async function javascriptCheck(): Promise<Check> {
  const name = 'fallback';
  try {
    return { name, status: 'ok', finding: `${await runTrial('javascript')}; enough for the recipe debugNano` };
  } catch (thrown) {
    const { message } = WeftError.from(thrown);
    return { name, status: 'fatal', finding: `tfjs does not work: ${message}`, hint: 'run npm ci again' };
  }
}

/** @returns what ran. @throws when it fails or computes something wrong. */
async function runTrial(kind: 'graph' | 'javascript'): Promise<string> {
  const executor = createExecutor(trial, { kind, precision: 'fp32', threads: 1 });
  try {
    const { square_NN } = await executor.run('multiply', { a_NN: Float32Array.of(1, 2, 3, 4) });
    const result = square_NN === undefined ? [] : Array.from(square_NN.data);
    square_NN?.dispose();
    if (result.join() !== '7,10,15,22') throw new WeftError('native_library', `[1 2; 3 4]² came out as ${result}`);
    return executor.description;
  } finally {
    await executor.dispose();
  }
}
