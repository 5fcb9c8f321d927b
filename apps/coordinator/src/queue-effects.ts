import { assertNever, WeftError } from '@weft/common';
import type { QueueCommand } from '@weft/coordination';
import type { JobQueue } from '@weft/store';
import { hasEnded, newRunJob } from './queue-jobs.js';

/** Carries out one change of the queue. @throws what the store refuses it with. */
export async function carryOutInQueue(queue: JobQueue, command: QueueCommand): Promise<void> {
  switch (command.kind) {
    case 'enqueue':
      return queue.add(newRunJob(command.job));
    case 'takeJob':
      await queue.take(command.jobId);
      return;
    case 'requeueJob':
      return queue.requeue(command.jobId);
    case 'completeJob':
      return queue.complete(command.jobId, command.result);
    case 'failJob':
      await queue.fail(command.jobId, command.reason);
      return;
    case 'cancelJob':
      return cancel(queue, command.jobId, command.reason);
    default:
      assertNever(command);
  }
}

/** A job that has ended meanwhile, with the sweep it belongs to, is as cancelled as it can be. */
async function cancel(queue: JobQueue, jobId: string, reason: string): Promise<void> {
  try {
    await queue.cancel(jobId, reason);
  } catch (thrown) {
    if (WeftError.is(thrown, 'failed_precondition') && hasEnded(await queue.get(jobId))) return;
    throw thrown;
  }
}
