import { type Command, InvalidArgumentError } from 'commander';
import type { MoveOptions } from '../commands/queue-change.js';
import type { CommonOptions } from '../context.js';
import type { Run } from '../main.js';

/** `weft queue …` and `weft history`. Returns the group, for the options every command has. */
export function addQueueCommands(program: Command, run: Run): Command {
  const queue = program
    .command('queue')
    .description('say who trains, who waits, and in which order; change it')
    .enablePositionalOptions()
    .action((options: CommonOptions) =>
      run(options, async (context) => (await import('../commands/queue.js')).queue(context)),
    );

  queue
    .command('move')
    .description('give a waiting run another place, or another priority')
    .argument('<run>', 'the id of the run, or the beginning or the end of it')
    .option('--first', 'before all others that wait')
    .option('--before <run>', 'right before this run, with its priority')
    .option('--after <run>', 'right after this run, with its priority')
    .option('--priority <N>', 'to the end of this priority; higher starts first', integer)
    .action((text: string, options: CommonOptions & MoveOptions) =>
      run(options, async (context) =>
        (await import('../commands/queue-change.js')).moveInQueue(context, text, options),
      ),
    );

  queue
    .command('pause')
    .description('let a run wait; without a run, start nothing any more')
    .argument('[run]', 'the id of the run or the sweep')
    .action((text: string | undefined, options: CommonOptions) =>
      run(options, async (context) => (await import('../commands/queue-change.js')).pauseQueue(context, text)),
    );

  queue
    .command('resume')
    .description('take a pause back')
    .argument('[run]', 'the id of the run or the sweep')
    .action((text: string | undefined, options: CommonOptions) =>
      run(options, async (context) => (await import('../commands/queue-change.js')).resumeQueue(context, text)),
    );

  queue
    .command('cancel')
    .description('take a run out of the queue, or a sweep with all its runs')
    .argument('<run>', 'the id of the run or the sweep')
    .action((text: string, options: CommonOptions) =>
      run(options, async (context) => (await import('../commands/queue-change.js')).cancelInQueue(context, text)),
    );

  program
    .command('history')
    .description('list the runs that have ended, or tell what happened to one')
    .argument('[run]', 'the id of the run, or the beginning or the end of it')
    .action((text: string | undefined, options: CommonOptions) =>
      run(options, async (context) => (await import('../commands/history.js')).history(context, text)),
    );

  return queue;
}

/** How a launch queues, in the words of the command line: short for settings of `queue`. */
export interface QueueOptions {
  readonly priority?: number;
  readonly attempts?: number;
  readonly notBefore?: string;
}

export function addQueueOptions(command: Command): Command {
  return command
    .option('--priority <N>', 'short for --set queue.priority=N; higher starts first', integer)
    .option('--attempts <N>', 'short for --set queue.maxAttempts=N: how often it is tried when it fails', integer)
    .option('--not-before <time>', 'short for --set queue.notBefore=…, such as +2h or 2026-11-24T01:00:00Z', moment);
}

/** The settings that the short options stand for. */
export function queueSettings({ priority, attempts, notBefore }: QueueOptions): string[] {
  return [
    ...(priority === undefined ? [] : [`queue.priority=${priority}`]),
    ...(attempts === undefined ? [] : [`queue.maxAttempts=${attempts}`]),
    ...(notBefore === undefined ? [] : [`queue.notBefore=${notBefore}`]),
  ];
}

function integer(text: string): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be an integer.');
  return value;
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `+90m`, or a moment as a person writes it → ISO 8601 in UTC. */
function moment(text: string): string {
  const [, amount, unit = ''] = text.match(/^\+(\d+(?:\.\d+)?)([smhd])$/) ?? [];
  const timeMs = amount === undefined ? Date.parse(text) : Date.now() + Number(amount) * (UNITS_MS[unit] ?? 0);
  if (Number.isNaN(timeMs)) throw new InvalidArgumentError('It must be a time, such as +90m or 2026-11-24T01:00:00Z.');
  return new Date(timeMs).toISOString();
}
