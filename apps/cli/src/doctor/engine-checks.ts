import { createPjrtExecutor, describeDevices, findPlugin } from '@weft/backend-pjrt';
import { createExecutor, describeNativeLibrary } from '@weft/backend-tensorflow';
import { bytes, plural, WeftError } from '@weft/common';
import { shortPath } from '@weft/files';
import { type Executor, type Program, tf } from '@weft/tensor';
import { type Bf16Support, bf16Support, computeHost } from '@weft/training';
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

const ONE_THREAD = { precision: 'fp32', threads: 1 } as const;

/** The engine, proven by a small computation rather than by the presence of files. */
export async function engineChecks(): Promise<Check[]> {
  const native = await nativeCheck();
  const accelerator = await acceleratorCheck();
  const javascript = await javascriptCheck();
  return [...native, ...accelerator, javascript, bf16Check(bf16Support('auto', computeHost()))];
}

/** Whether runs gain by bf16 here. A machine that emulates it lacks nothing: it trains in fp32. */
export function bf16Check({ isNative, reason }: Bf16Support): Check {
  const name = 'bf16';
  if (isNative) return { name, status: 'ok', finding: `native (${reason}); precision: auto takes it` };
  const finding = `not native (${reason}); precision: auto takes fp32, and bf16 would be slower than that`;
  return { name, status: 'note', finding };
}

/** What XLA can compute on. A host without an accelerator lacks nothing. */
async function acceleratorCheck(): Promise<Check[]> {
  const name = 'accelerator';
  try {
    const plugin = findPlugin();
    if (!plugin.found) {
      if (plugin.hasAccelerator) return [{ name, status: 'missing', finding: plugin.reason, hint: plugin.hint }];
      return [{ name, status: 'note', finding: 'none; training runs on the CPU' }];
    }
    const { apiVersion, platform, kinds, memoryBytes } = await describeDevices(plugin.path);
    const memory = memoryBytes === undefined ? '' : ` of ${bytes(memoryBytes)}`;
    const engine = createPjrtExecutor(trial, { precision: 'fp32', recompute: 'none', pluginPath: plugin.path });
    return [
      { name, status: 'ok', finding: `${plural(kinds.length, 'device')}${memory}: ${[...new Set(kinds)].join(', ')}` },
      {
        name: 'PJRT plugin',
        status: 'ok',
        finding: `${plugin.version ?? platform}, PJRT ${apiVersion}, ${shortPath(plugin.path)} (${plugin.reason})`,
      },
      { name: 'XLA', status: 'ok', finding: await runTrial(engine) },
    ];
  } catch (thrown) {
    const { message, hint } = WeftError.from(thrown);
    return [{ name, status: 'missing', finding: message, hint: hint ?? 'unset WEFT_PJRT_PLUGIN to train without it' }];
  }
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
      {
        name: 'engine',
        status: 'ok',
        finding: await runTrial(createExecutor(trial, { kind: 'graph', ...ONE_THREAD })),
      },
    ];
  } catch (thrown) {
    const { message, hint } = WeftError.from(thrown);
    return [{ name, status: 'missing', finding: message, hint: hint ?? 'run npm run quickstart, which sets it up' }];
  }
}

async function javascriptCheck(): Promise<Check> {
  const name = 'fallback';
  try {
    return {
      name,
      status: 'ok',
      finding: `${await runTrial(createExecutor(trial, { kind: 'javascript', ...ONE_THREAD }))}; enough for the recipe debugNano`,
    };
  } catch (thrown) {
    const { message } = WeftError.from(thrown);
    return { name, status: 'fatal', finding: `tfjs does not work: ${message}`, hint: 'run npm ci again' };
  }
}

/** @returns what ran. @throws when it fails or computes something wrong. */
async function runTrial(executor: Executor): Promise<string> {
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
