import { WeftError } from '@weft/common';
import { findTensorFlow } from '@weft/native-setup';

/**
 * The folder of TensorFlow's shared libraries.
 * @throws WeftError `native_library` naming the hint when there is none.
 */
export function nativeLibraryDirectory(): string {
  const found = find();
  if (!found.found) throw new WeftError('native_library', found.reason, { hint: found.hint });
  return found.directory;
}

/** Whether TensorFlow can be used here. @throws WeftError `native_library` when a person named a folder that lacks it. */
export function hasNativeLibrary(): boolean {
  return find().found;
}

/** What was found and why, for people. */
export function describeNativeLibrary(): ReturnType<typeof findTensorFlow> {
  return find();
}

function find(): ReturnType<typeof findTensorFlow> {
  try {
    return findTensorFlow();
  } catch (cause) {
    const hint = cause instanceof Error && 'hint' in cause && typeof cause.hint === 'string' ? cause.hint : undefined;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new WeftError('native_library', message, hint === undefined ? { cause } : { cause, hint });
  }
}
