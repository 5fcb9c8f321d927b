import { connect } from 'node:net';
import { parseAddress } from '@weft/common';

const PATIENCE_MS = 3000;
const LOOPBACK = '127.0.0.1';

/**
 * The address from which this host reaches another: the one at which it can be reached back. Loopback where the other
 * does not answer.
 */
export function hostTowards(address: string): Promise<string> {
  const { host, port } = parseAddress(address);
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: PATIENCE_MS });
    const answer = (found: string) => {
      socket.destroy();
      resolve(found);
    };
    socket.once('connect', () => answer(socket.localAddress ?? LOOPBACK));
    socket.once('timeout', () => answer(LOOPBACK));
    socket.once('error', () => answer(LOOPBACK));
  });
}
