import { WeftError } from '@weft/common';
import { type Compiler, installCompiler } from '../setup/compiler.js';

/** NVIDIA's compiler, fetched on first use (233 MB); undefined, with one line that says why, where it cannot be had. */
export async function compilerForTests(): Promise<Compiler | undefined> {
  try {
    return await installCompiler();
  } catch (thrown) {
    process.stderr.write(`not compiled for GPUs: ${WeftError.from(thrown).message}\n`);
    return undefined;
  }
}
