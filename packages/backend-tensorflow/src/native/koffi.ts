import { createRequire } from 'node:module';
import type koffiModule from 'koffi';

let loaded: typeof koffiModule | undefined;

/** The foreign function interface, loaded when it is first used: the JavaScript engine needs no native code. */
export function koffi(): typeof koffiModule {
  if (loaded !== undefined) return loaded;
  const module: typeof koffiModule = createRequire(import.meta.url)('koffi');
  makeStacksDeep(module);
  loaded = module;
  return module;
}

/**
 * koffi takes settings only before it loads the first library, and XLA, which may come later into the same process, needs
 * deep stacks on other threads: see `requireDeepStack` of backend-pjrt.
 */
function makeStacksDeep(module: typeof koffiModule): void {
  try {
    module.config({ async_stack_size: 16 * 2 ** 20 });
  } catch {
    // A library was loaded before.
  }
}
