import { createRequire } from 'node:module';
import { WeftError } from '@weft/common';
import type koffiModule from 'koffi';

let loaded: typeof koffiModule | undefined;

/**
 * koffi's most, for calls on other threads. XLA's compiler recurses deeply; koffi's default of 128 KiB is a crash. koffi
 * takes the size only before it loads the first library, whichever package that is.
 */
const STACK_BYTES = 16 * 2 ** 20;

/** The foreign function interface, loaded when it is first used: not every engine needs native code. */
export function koffi(): typeof koffiModule {
  if (loaded !== undefined) return loaded;
  const module: typeof koffiModule = createRequire(import.meta.url)('koffi');
  try {
    module.config({ async_stack_size: STACK_BYTES });
  } catch {
    // Code outside of Weft loaded a library first. What needs no deep stack works; see `requireDeepStack`.
  }
  loaded = module;
  return module;
}

/** Before a call that recurses deeply. @throws WeftError `internal` when the process would crash in it */
export function requireDeepStack(): void {
  if (koffi().config().async_stack_size === STACK_BYTES) return;
  throw new WeftError(
    'internal',
    'koffi loaded a library before the PJRT plugin, so its stack is too small to compile',
  );
}
