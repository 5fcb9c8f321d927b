import { rm } from 'node:fs/promises';
import { makeDirectory } from './atomic-file.js';
import type { Home } from './home.js';
import { readJsonFile, writeJsonFile } from './json-file.js';

/** Where the living coordinator of a home is, for the other processes of this machine: `coordinator.json`. */
export interface CoordinatorFile {
  /** `host:port` of its gRPC services. */
  readonly address: string;
  /** `host:port` of its metrics and health. */
  readonly metricsAddress: string;
  /** `host:port` of its web page; absent where it has none. */
  readonly pageAddress?: string;
  readonly processId: number;
  readonly version: string;
}

export async function writeCoordinatorFile(home: Home, content: CoordinatorFile): Promise<void> {
  await makeDirectory(home.directory);
  await writeJsonFile(home.coordinatorFile, content);
}

/** Undefined where there is none, or none that can be read: then no coordinator is known here. */
export async function readCoordinatorFile(home: Home): Promise<CoordinatorFile | undefined> {
  const content = await readJsonFile(home.coordinatorFile).catch(() => undefined);
  if (typeof content !== 'object' || content === null) return undefined;
  const { address, metricsAddress, pageAddress, processId, version }: Partial<Record<keyof CoordinatorFile, unknown>> =
    content;
  if (typeof address !== 'string') return undefined;
  return {
    address,
    metricsAddress: String(metricsAddress ?? ''),
    ...(typeof pageAddress === 'string' ? { pageAddress } : {}),
    processId: Number(processId),
    version: String(version ?? ''),
  };
}

export async function removeCoordinatorFile(home: Home): Promise<void> {
  await rm(home.coordinatorFile, { force: true });
}
