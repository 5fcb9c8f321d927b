import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type EngineKind, hasNativeLibrary } from '@weft/engine';

type Asked = Pick<RunConfig, 'engine' | 'precision' | 'activationCheckpointing'>;

/**
 * The engine a run's settings ask for; `auto` takes TensorFlow where its library is.
 * @throws WeftError `native_library` when bf16 or activation checkpointing is asked of the JavaScript engine.
 */
export function chooseEngine(config: Asked): EngineKind {
  const { engine, precision, activationCheckpointing } = config;
  if (engine.backend === 'tensorflow' || (engine.backend === 'auto' && hasNativeLibrary())) return 'graph';
  if (precision === 'bf16') {
    throw new WeftError('native_library', 'precision is bf16, which the JavaScript engine does not have', {
      cure: 'set precision to fp32, or set up TensorFlow (weft doctor says how)',
    });
  }
  if (activationCheckpointing !== 'none') {
    const sentence = `activationCheckpointing is ${activationCheckpointing}, but the JavaScript engine keeps every activation`;
    throw new WeftError('native_library', sentence, {
      cure: 'set activationCheckpointing to none, or set up TensorFlow (weft doctor says how)',
    });
  }
  return 'javascript';
}
