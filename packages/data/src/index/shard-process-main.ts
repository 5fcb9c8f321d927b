// The process of `openShardProcess`: reads the shards that it is sent into a part file of its own.
import type { IndexRun, ShardTask } from './shard-indexer.js';
import { type SentError, sentError } from './shard-part.js';
import { openUnitReader, type ShardResult, type UnitReader } from './shard-queue.js';

/** To the process: what it reads by, then units of shards. */
export type ToShardProcess =
  | { readonly kind: 'open'; readonly run: IndexRun; readonly folder: string; readonly file: number }
  | { readonly kind: 'read'; readonly unit: readonly ShardTask[] };

/** From the process: an answer to each of these. */
export type FromShardProcess =
  | { readonly kind: 'opened' }
  | { readonly kind: 'read'; readonly results: readonly ShardResult[] }
  | { readonly kind: 'failed'; readonly error: SentError };

let reader: UnitReader | undefined;

async function answer(message: ToShardProcess): Promise<FromShardProcess> {
  if (message.kind === 'open') {
    reader = await openUnitReader(message.run, message.folder, message.file);
    return { kind: 'opened' };
  }
  return { kind: 'read', results: (await reader?.read(message.unit)) ?? [] };
}

process.on('message', (message: ToShardProcess) => {
  void answer(message)
    .catch((thrown: unknown): FromShardProcess => ({ kind: 'failed', error: sentError(thrown) }))
    .then((reply) => process.send?.(reply));
});
// Nobody waits any more: the index is made by another run, which begins with what is complete.
process.on('disconnect', () => process.exit());
// A terminal's Ctrl-C reaches it too; it ends with its parent.
process.on('SIGINT', () => undefined);
