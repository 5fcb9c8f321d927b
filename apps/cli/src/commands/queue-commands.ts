import type { Command } from 'commander';
import { integer } from '../arguments.js';
import type { CommonOptions, RunCommand } from '../context.js';
import type { MoveOptions } from './queue.js';

/** `weft queue …` and `weft history`. Returns the group, for the options every command has. */
export function addQueueCommands(program: Command, run: RunCommand): Command {
  const queue = program
    .command('queue')
    .description('show which runs train and which wait, in order; change it')
    .enablePositionalOptions()
    .action((options: CommonOptions) => run(options, async (context) => (await import('./queue.js')).queue(context)));

  queue
    .command('move')
    .description('give a waiting run another position or priority')
    .argument('<run>', 'the id of the run, or the beginning or the end of it')
    .option('--first', 'before all others that wait')
    .option('--before <run>', 'right before this run, with its priority')
    .option('--after <run>', 'right after this run, with its priority')
    .option('--priority <N>', 'to the end of this priority; higher starts first', integer)
    .action((text: string, options: CommonOptions & MoveOptions) =>
      run(options, async (context) => (await import('./queue.js')).moveInQueue(context, text, options)),
    );

  queue
    .command('pause')
    .description('hold a run back; without a run, start nothing more')
    .argument('[run]', 'the id of the run or the sweep')
    .action((text: string | undefined, options: CommonOptions) =>
      run(options, async (context) => (await import('./queue.js')).pauseQueue(context, text)),
    );

  queue
    .command('resume')
    .description('end a pause')
    .argument('[run]', 'the id of the run or the sweep')
    .action((text: string | undefined, options: CommonOptions) =>
      run(options, async (context) => (await import('./queue.js')).resumeQueue(context, text)),
    );

  queue
    .command('cancel')
    .description('remove a run from the queue, or a sweep with all its runs')
    .argument('<run>', 'the id of the run or the sweep')
    .action((text: string, options: CommonOptions) =>
      run(options, async (context) => (await import('./queue.js')).cancelInQueue(context, text)),
    );

  program
    .command('history')
    .description('list the runs that have ended, or show what happened to one')
    .argument('[run]', 'the id of the run, or the beginning or the end of it')
    .action((text: string | undefined, options: CommonOptions) =>
      run(options, async (context) => (await import('./history.js')).history(context, text)),
    );

  return queue;
}
