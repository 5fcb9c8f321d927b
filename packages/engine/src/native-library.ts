import { WeftError } from '@weft/common';
import { findNativeLibrary } from '../setup/native-library.mjs';

/**
 * The folder of TensorFlow's shared libraries.
 * @throws WeftError `native_library` naming the cure when there is none.
 */
export function nativeLibraryDirectory(): string {
  const found = findNativeLibrary();
  if (!found.found) throw new WeftError('native_library', found.reason, { cure: found.cure });
  return found.directory;
}
