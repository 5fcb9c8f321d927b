import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What goes wrong: see `faulty-plugin.c`. */
export type PluginFault = 'EXHAUSTED' | 'INTERNAL' | 'ABORT' | 'OLD' | 'LACKS_EXECUTE' | 'NO_DEVICE';

interface FaultyPluginOptions {
  /** The plugin that does the work. */
  readonly realPath: string;
  /** Where the shared object is written, over the one before. */
  readonly directory: string;
  readonly fault: PluginFault;
  /** How many runs of programs go well before; default 0. */
  readonly after?: number;
  /** Only the first process that gets there meets the fault; default: every one. */
  readonly isOnce?: boolean;
}

/** Compiles, with the C compiler of the host, a plugin that fails on purpose. @returns its path */
export function faultyPlugin({ realPath, directory, fault, after = 0, isOnce = false }: FaultyPluginOptions): string {
  // One name for all: what is compiled for a plugin is kept under its path.
  const path = join(directory, 'faulty_plugin.so');
  const text = (value: string) => JSON.stringify(value);
  const once = isOnce ? join(directory, `${fault.toLowerCase()}-victim`) : '';
  const values = { REAL: text(realPath), FAULT: fault, AFTER: after, ONCE: text(once) };
  const definitions = Object.entries(values).map(([name, value]) => `-D${name}=${value}`);
  const source = fileURLToPath(new URL('faulty-plugin.c', import.meta.url));
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-Wall', ...definitions, source, '-o', path, '-ldl']);
  return path;
}
