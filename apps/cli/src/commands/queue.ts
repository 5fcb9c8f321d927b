import type { QueuedView, QueueView } from '@weft/client';
import { plural } from '@weft/common';
import type { CommandContext } from '../context.js';
import { expectedStart } from '../queue/expected-start.js';
import { withQueue } from '../queue/with-queue.js';
import { EXIT } from '../report-error.js';
import { clip, type Line, paint, type Style, span } from '../spans.js';
import { table } from '../table.js';
import { say } from '../terminal.js';

/** `weft queue`: who trains, who waits, in which order, and why. */
export async function queue(context: CommandContext): Promise<number> {
  const { terminal, json } = context;
  return withQueue(context, async (client) => {
    const view = await client.show();
    if (json) {
      say(terminal, JSON.stringify(view));
      return EXIT.done;
    }
    const width = terminal.stdout.isTTY ? terminal.stdout.columns : Number.POSITIVE_INFINITY;
    for (const line of renderQueue(view, Date.now(), terminal.commandName))
      say(terminal, paint(clip(line, width), terminal.colors));
    return EXIT.done;
  });
}

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
          jobs.map((job) => rowOf(job, nowMs)),
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

function rowOf(job: QueuedView, nowMs: number) {
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
