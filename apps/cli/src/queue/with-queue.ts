import { QueueClient, requireCoordinator } from '@weft/client';
import type { CommandContext } from '../context.js';

/** Opens the queue of the coordinator that was named or lives here; it is closed afterwards. */
export async function withQueue<T>(context: CommandContext, use: (client: QueueClient) => Promise<T>): Promise<T> {
  const { client: runs } = await requireCoordinator(context);
  try {
    const client = await QueueClient.connect(runs.address);
    try {
      return await use(client);
    } finally {
      client.close();
    }
  } finally {
    runs.close();
  }
}
