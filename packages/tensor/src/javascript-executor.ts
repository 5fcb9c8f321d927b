import { EagerExecutor } from './eager-executor.js';
import type { Executor } from './executor.js';
import { useBackend } from './kernel-backend.js';
import type { Program } from './program.js';
import { tf } from './tf.js';

/** Runs a program op by op in pure JavaScript, in float32: slow, and needs nothing that is not in npm packages of text. */
export function javascriptExecutor(program: Program): Executor {
  const host = {
    description: `tfjs ${tf.version.tfjs} in pure JavaScript, fp32`,
    run<T>(body: () => T): T {
      useBackend('cpu');
      let result: T | undefined;
      tf.tidy(() => {
        result = body();
      });
      return result as T;
    },
    dispose: () => {},
  };
  return new EagerExecutor(host, program);
}
