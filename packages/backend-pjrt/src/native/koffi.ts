import { createRequire } from 'node:module';
import type koffiModule from 'koffi';

let loaded: typeof koffiModule | undefined;

/** The foreign function interface, loaded when it is first used: other engines need no native code. */
export function koffi(): typeof koffiModule {
  if (loaded !== undefined) return loaded;
  const module: typeof koffiModule = createRequire(import.meta.url)('koffi');
  loaded = module;
  return module;
}
