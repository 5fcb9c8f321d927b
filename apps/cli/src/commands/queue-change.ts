import type { Destination, QueueClient, QueuedView } from '@weft/client';
import { chooseRun } from '@weft/client';
import { UsageError, WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { withQueue } from '../queue/with-queue.js';
import { EXIT } from '../report-error.js';
import { say } from '../terminal.js';

export interface MoveOptions {
  readonly priority?: number;
  readonly before?: string;
  readonly after?: string;
  readonly first?: boolean;
}

/** `weft queue move`: gives a waiting run another position, or another priority. */
export async function moveInQueue(context: CommandContext, text: string, options: MoveOptions): Promise<number> {
  const { priority, before, after, first } = options;
  if ([priority, before, after, first].filter((way) => way !== undefined).length !== 1)
    throw new UsageError(
      'say where to, in one way',
      'give one of --first, --before <run>, --after <run> or --priority <N>',
    );
  return change(context, text, async (client, id = '', jobs) => {
    const moved = await client.move(id, destinationOf(options, id, jobs));
    return `${moved.id} is number ${moved.position ?? '-'} in the queue now, at priority ${moved.priority}.`;
  });
}

/** `weft queue pause`: one run waits, or nothing starts any more. */
export async function pauseQueue(context: CommandContext, text: string | undefined): Promise<number> {
  return change(context, text, async (client, id) => {
    await client.pause(id);
    const weft = context.terminal.commandName;
    return id === undefined
      ? `The queue is paused: what trains goes on, nothing starts until ${weft} queue resume.`
      : `${id} is paused until ${weft} queue resume ${id}.`;
  });
}

/** `weft queue resume`: takes `pause` back. */
export async function resumeQueue(context: CommandContext, text: string | undefined): Promise<number> {
  return change(context, text, async (client, id) => {
    await client.resume(id);
    return id === undefined ? 'The queue goes on.' : `${id} waits for its turn again.`;
  });
}

/** `weft queue cancel`: takes a run, or a sweep with all its runs, out of the queue. */
export async function cancelInQueue(context: CommandContext, text: string): Promise<number> {
  return change(context, text, async (client, id = '', jobs) => {
    const ids = await client.cancel(id);
    if (jobs.find((job) => job.id === id)?.kind === 'sweep')
      return `Sweep ${id} is cancelled, with the ${ids.length - 1} of its runs that had not ended.`;
    return jobs.find((job) => job.id === id)?.state === 'running'
      ? `${id} ends after the step in hand, with a checkpoint.`
      : `${id} is out of the queue. ${context.terminal.commandName} resume ${id} queues it again.`;
  });
}

type Change = (client: QueueClient, id: string | undefined, jobs: readonly QueuedView[]) => Promise<string>;

async function change(context: CommandContext, text: string | undefined, make: Change): Promise<number> {
  const { terminal, json } = context;
  return withQueue(context, async (client) => {
    const { jobs } = await client.show();
    const sentence = await make(client, text === undefined ? undefined : chooseJob(text, jobs), jobs);
    say(terminal, json ? JSON.stringify(await client.show()) : sentence);
    return EXIT.done;
  });
}

function destinationOf(
  { priority, before, after }: MoveOptions,
  id: string | undefined,
  jobs: readonly QueuedView[],
): Destination {
  if (priority !== undefined) return { $case: 'priority', priority };
  if (before !== undefined) return { $case: 'before', before: chooseJob(before, jobs) };
  if (after !== undefined) return { $case: 'after', after: chooseJob(after, jobs) };
  const first = jobs.find(({ kind, state }) => kind === 'run' && state !== 'running');
  if (first === undefined || first.id === id)
    throw new WeftError(
      'failed_precondition',
      first === undefined ? 'nothing waits in the queue' : `${id} is the first already`,
    );
  return { $case: 'before', before: first.id };
}

/** As `chooseRun`, among what is in the queue; a run that is not is left to the coordinator, which says how it is. */
function chooseJob(text: string, jobs: readonly QueuedView[]): string {
  try {
    return chooseRun(
      text,
      jobs.map(({ id }) => id),
    );
  } catch (thrown) {
    if (WeftError.is(thrown, 'not_found') && text !== 'last') return text;
    throw thrown;
  }
}
