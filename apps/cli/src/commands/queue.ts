import {
  chooseRun,
  type Destination,
  QueueClient,
  type QueuedView,
  type QueueView,
  requireCoordinator,
} from '@weft/client';
import { UsageError } from '@weft/command-line';
import { plural, WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { expectedStart } from '../runs/describe-run.js';
import { type Line, printTable, type Style, span, table } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

/** `weft queue`: which runs train, which wait, in which order, and why. */
export async function queue(context: CommandContext): Promise<number> {
  const { terminal, json } = context;
  return withQueue(context, async (client) => {
    const view = await client.show();
    if (json) {
      printJson(terminal, view);
      return EXIT.done;
    }
    printTable(terminal, renderQueue(view, Date.now(), terminal.commandName));
    return EXIT.done;
  });
}

/** The table of the queue, and a line about the workers. */
export function renderQueue(
  { isPaused, workersConnected, workersIdle, jobs }: QueueView,
  nowMs: number,
  weft: string,
): Line[] {
  const paused: Line[] = isPaused
    ? [[span('The queue is paused: nothing starts until ', 'yellow'), span(`${weft} queue resume`, 'bold')]]
    : [];
  const waiting = jobs.filter(({ kind, state }) => kind === 'run' && state !== 'running').length;
  const summary = `${plural(workersConnected, 'worker')}, ${workersIdle} idle; ${plural(waiting, 'run')} ${waiting === 1 ? 'waits' : 'wait'}.`;
  const rows =
    jobs.length === 0
      ? []
      : table(
          COLUMNS,
          jobs.map((job) => jobRow(job, nowMs)),
        );
  return [...paused, ...rows, [span(summary, 'dim')]];
}

const COLUMNS = [
  { title: 'position', align: 'right' },
  { title: 'run' },
  { title: 'recipe' },
  { title: 'priority', align: 'right' },
  { title: 'workers', align: 'right' },
  { title: 'step', align: 'right' },
  { title: 'state' },
  { title: 'starts' },
  { title: 'because' },
] as const;

const STYLES: Readonly<Record<QueuedView['state'], Style>> = {
  running: 'green',
  waiting: 'cyan',
  delayed: 'yellow',
  paused: 'yellow',
  'waiting for its runs': 'dim',
};

function jobRow(job: QueuedView, nowMs: number) {
  const { id, kind, position, recipe, priority, workers, state, reason, step, steps, expectedStartMs } = job;
  const isRun = kind === 'run';
  return [
    position === null ? '' : `${position}`,
    span(id, 'bold'),
    recipe,
    `${priority}`,
    isRun ? `${workers}` : '',
    isRun ? `${step}/${steps}` : '',
    span(state, STYLES[state]),
    expectedStartMs === null ? '' : expectedStart(expectedStartMs, nowMs),
    reason,
  ];
}

/** The options of `weft queue move`; one of them is given. */
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
      'give one destination',
      'give one of --first, --before <run>, --after <run> or --priority <N>',
    );
  return changeQueue(context, text, async (client, id = '', jobs) => {
    const moved = await client.move(id, parseDestination(options, id, jobs));
    return `${moved.id} is number ${moved.position ?? '-'} in the queue now, at priority ${moved.priority}.`;
  });
}

/** `weft queue pause`: keeps one run from starting, or all. */
export async function pauseQueue(context: CommandContext, text: string | undefined): Promise<number> {
  return changeQueue(context, text, async (client, id) => {
    await client.pause(id);
    const weft = context.terminal.commandName;
    return id === undefined
      ? `The queue is paused: running runs continue, nothing starts until ${weft} queue resume.`
      : `${id} is paused until ${weft} queue resume ${id}.`;
  });
}

/** `weft queue resume`: ends a pause. */
export async function resumeQueue(context: CommandContext, text: string | undefined): Promise<number> {
  return changeQueue(context, text, async (client, id) => {
    await client.resume(id);
    return id === undefined ? 'The queue runs again.' : `${id} waits in the queue again.`;
  });
}

/** `weft queue cancel`: removes a run, or a sweep with all its runs, from the queue. */
export async function cancelInQueue(context: CommandContext, text: string): Promise<number> {
  return changeQueue(context, text, async (client, id = '', jobs) => {
    const ids = await client.cancel(id);
    if (jobs.find((job) => job.id === id)?.kind === 'sweep')
      return `Sweep ${id} is cancelled, with the ${ids.length - 1} of its runs that had not ended.`;
    return jobs.find((job) => job.id === id)?.state === 'running'
      ? `${id} ends after the current step, with a checkpoint.`
      : `${id} is removed from the queue. ${context.terminal.commandName} resume ${id} queues it again.`;
  });
}

type Change = (client: QueueClient, id: string | undefined, jobs: readonly QueuedView[]) => Promise<string>;

async function changeQueue(context: CommandContext, text: string | undefined, make: Change): Promise<number> {
  const { terminal, json } = context;
  return withQueue(context, async (client) => {
    const { jobs } = await client.show();
    const sentence = await make(client, text === undefined ? undefined : chooseJob(text, jobs), jobs);
    print(terminal, json ? JSON.stringify(await client.show()) : sentence);
    return EXIT.done;
  });
}

function parseDestination(
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

/** As `chooseRun`, among the jobs of the queue. Any other id goes to the coordinator, which knows why it is not there. */
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
