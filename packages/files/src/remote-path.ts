import { join } from 'node:path';

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** Whether a path of a configuration is an address such as `s3://bucket/prefix`, and no path of this machine. */
export function isRemote(path: string): boolean {
  return SCHEME.test(path);
}

/** The path of what lies below a folder: of this machine, or of an address, whose two slashes stay. */
export function joinPath(folder: string, ...names: readonly string[]): string {
  if (!isRemote(folder)) return join(folder, ...names);
  return [folder.replace(/\/+$/, ''), ...names].join('/');
}
