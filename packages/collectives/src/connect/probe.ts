import { connect } from 'node:net';
import { deferred, parseAddress, sleep } from '@weft/common';
import { localPath } from './dial.js';

/** One lost packet is sent again after a second. */
const PROBE_TIMEOUT_MS = 1200;
/** When this process stood still itself, the answer may be there, and is only not handled yet. */
const GRACE_MS = 100;

/**
 * Whether a process listens at a data-plane address and its host can be reached. Its kernel answers, also while the process
 * computes.
 */
export async function canReach(address: string): Promise<boolean> {
  const path = localPath(address);
  if (path !== undefined && (await connects({ path }))) return true;
  return connects(parseAddress(address));
}

async function connects(target: { readonly path: string } | { readonly host: string; readonly port: number }) {
  const socket = connect(target);
  const { promise, resolve } = deferred<boolean>();
  let isConnected = false;
  socket.once('connect', () => {
    isConnected = true;
    resolve(true);
  });
  socket.once('error', () => resolve(false));
  const timer = setTimeout(async () => {
    await sleep(GRACE_MS);
    resolve(isConnected);
  }, PROBE_TIMEOUT_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
