// The process of `openShardProcess`: reads the shards that it is sent into a part file of its own.
import { sentError } from './shard-part.js';
import type { FromShardProcess, ToShardProcess } from './shard-process.js';
import { openUnitReader, type UnitReader } from './shard-queue.js';

let reader: UnitReader | undefined;

async function answer(message: ToShardProcess): Promise<FromShardProcess> {
  if (message.kind === 'open') {
    reader = await openUnitReader(message.run, message.folder, message.file);
    return { kind: 'opened' };
  }
  return { kind: 'read', results: (await reader?.read(message.unit)) ?? [] };
}

process.on('message', (message: ToShardProcess) => {
  answer(message)
    .catch((thrown: unknown): FromShardProcess => ({ kind: 'failed', error: sentError(thrown) }))
    .then((reply) => process.send?.(reply));
});
// Nobody waits any more: the index is made by another run, which begins with what is complete.
process.on('disconnect', () => process.exit());
// A terminal's Ctrl-C reaches it too; it ends with its parent.
process.on('SIGINT', () => undefined);
