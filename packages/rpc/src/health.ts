import { WeftError } from '@weft/common';
import type { Channel } from './channel.js';

/**
 * Asks the standard health service of a server.
 *
 * @returns whether it serves; an unreachable server is an error, not an answer.
 * @throws WeftError `unavailable`, `deadline_exceeded`.
 */
export async function isServing(channel: Channel, deadlineMs = 2000): Promise<boolean> {
  const check = (await import('grpc-health-check')).service.Check;
  if (check === undefined) throw new WeftError('internal', 'the health service has no method Check');
  const method = { ...check, requestStream: false, responseStream: false } as const;
  const response = await channel.unary(method, { service: '' }, { deadlineMs, idempotent: true });
  return 'status' in response && response.status === 'SERVING';
}
