import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Deferred, deferred, WeftError } from '@weft/common';
import type { IndexRun } from './shard-indexer.js';
import { receivedError } from './shard-part.js';
import type { FromShardProcess, ToShardProcess } from './shard-process-main.js';
import type { UnitReader } from './shard-queue.js';

/** The compiled module of the process. */
export const SHARD_PROCESS = new URL('./shard-process-main.js', import.meta.url);

/**
 * Reads shards in a process of its own: it has its own decoder threads and its own heap, and a decoder that crashes on a
 * damaged image ends it alone. It ends with this process.
 *
 * @throws WeftError `unavailable` when it ends before it answers
 */
export async function openShardProcess(
  module: URL,
  run: IndexRun,
  folder: string,
  file: number,
): Promise<UnitReader & { readonly processId: number | undefined }> {
  const child = fork(fileURLToPath(module), {
    serialization: 'advanced',
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const process = new ShardProcess(child);
  try {
    await process.ask({ kind: 'open', run, folder, file });
  } catch (thrown) {
    await process.close();
    throw thrown;
  }
  return {
    processId: child.pid,
    async read(unit) {
      const answer = await process.ask({ kind: 'read', unit });
      return answer.kind === 'read' ? answer.results : [];
    },
    kill: () => process.kill(),
    close: () => process.close(),
  };
}

class ShardProcess {
  readonly #child: ChildProcess;
  readonly #exited = deferred();
  #answer: Deferred<FromShardProcess> | undefined;
  #ended: WeftError | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message: FromShardProcess) => {
      if (message.kind === 'failed') this.#answer?.reject(receivedError(message.error));
      else this.#answer?.resolve(message);
    });
    child.on('error', (error) => this.#end(WeftError.from(error)));
    child.on('exit', (code, signal) =>
      this.#end(
        new WeftError('unavailable', `the process that reads it ended with ${signal ?? `code ${code}`}`, {
          hint: 'free memory on this machine, or move the shard away',
        }),
      ),
    );
  }

  async ask(message: ToShardProcess): Promise<FromShardProcess> {
    if (this.#ended !== undefined) throw this.#ended;
    this.#answer = deferred<FromShardProcess>();
    // One that cannot be sent to has ended, which is told by its exit.
    this.#child.send(message, () => undefined);
    return await this.#answer.promise;
  }

  kill(): void {
    if (this.#ended === undefined) this.#child.kill('SIGKILL');
  }

  async close(): Promise<void> {
    this.kill();
    await this.#exited.promise;
  }

  #end(error: WeftError): void {
    this.#ended = error;
    this.#answer?.reject(error);
    this.#exited.resolve();
  }
}
