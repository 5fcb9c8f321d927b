import { connect } from 'node:net';
import { parseAddress, WeftError } from '@weft/common';
import { Home, readCoordinatorFile } from '@weft/files';
import type { WorkerProcessOptions } from './options.js';

/**
 * The address of the coordinator that was named, or the one in `coordinator.json` of the home. Read again before every
 * attempt to connect, because a restarted coordinator may listen on another port.
 *
 * @throws WeftError `unavailable` when none was named and the home has none.
 */
export async function findCoordinator({
  coordinator,
  home,
}: Pick<WorkerProcessOptions, 'coordinator' | 'home'>): Promise<string> {
  if (coordinator !== undefined) return coordinator;
  const found = await readCoordinatorFile(new Home(home));
  if (found !== undefined) return found.address;
  throw new WeftError('unavailable', `no coordinator keeps ${home}`, {
    hint: 'start one with `weft coordinator`, or name one with --coordinator host:port',
  });
}

const CONNECT_TIMEOUT_MS = 3000;
const LOOPBACK = '127.0.0.1';

/**
 * This host's address in the network that leads to another host, at which that host can reach it. Loopback when the other
 * host does not answer.
 */
export function outboundAddress(address: string): Promise<string> {
  const { host, port } = parseAddress(address);
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS });
    const answer = (found: string) => {
      socket.destroy();
      resolve(found);
    };
    socket.once('connect', () => answer(socket.localAddress ?? LOOPBACK));
    socket.once('timeout', () => answer(LOOPBACK));
    socket.once('error', () => answer(LOOPBACK));
  });
}
