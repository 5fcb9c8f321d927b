import { WeftError } from '@weft/common';
import type { Channel } from '@weft/rpc';
import { service } from 'grpc-health-check';

/** Whether the health service of a server reports SERVING. @throws WeftError `unavailable`, `deadline_exceeded`. */
export async function isServing(channel: Pick<Channel, 'unary'>): Promise<boolean> {
  const check = service.Check;
  if (check === undefined) throw new WeftError('internal', 'the health service has no method Check');
  const method = { ...check, requestStream: false, responseStream: false } as const;
  const response = await channel.unary(method, { service: '' }, { deadlineMs: 2000, idempotent: true });
  return 'status' in response && response.status === 'SERVING';
}
