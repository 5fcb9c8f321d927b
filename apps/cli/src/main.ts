import { createProgram, hostAndPort, text, wholeNumber } from '@weft/command-line';
import { WEFT_VERSION } from '@weft/common';
import { type Command, Option } from 'commander';
import {
  addQueueOptions,
  collect,
  devicesName,
  positiveInteger,
  type SequenceName,
  sequenceName,
} from './arguments.js';
import type { CompileOptions } from './commands/compile.js';
import type { DataLedgerOptions } from './commands/data-ledger.js';
import type { LaunchOptions } from './commands/launch.js';
import { addLearningRateCommands } from './commands/lr-commands.js';
import { addQueueCommands } from './commands/queue-commands.js';
import type { ResumeOptions } from './commands/resume.js';
import { type CommonOptions, createContext, type RunCommand } from './context.js';
import { EXIT, reportError } from './report-error.js';
import { systemTerminal, type Terminal } from './terminal.js';

/**
 * The `weft` command: parses the arguments, runs one command, returns the exit code.
 * A command is imported when it runs, so help and refusals never load TensorFlow, gRPC or an image decoder.
 */
export async function main(argv: readonly string[], terminal: Terminal = systemTerminal()): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = commandTree(terminal, async (options, command) => {
    exitCode = await command(createContext(options, terminal));
  });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (thrown) {
    return reportError(thrown, terminal, {
      json: argv.includes('--json'),
      debug: argv.includes('--debug'),
      command: innermostCommand(program, argv),
    });
  }
}

/** Every command, its arguments and its options. */
export function commandTree(terminal: Terminal, run: RunCommand): Command {
  const program = createWeft(terminal);

  program.commandsGroup('Runs:');

  const launch = program
    .command('launch')
    .description('train a recipe, or a run file of your own')
    .argument('<recipe|file>', 'a name from `weft recipes`, or a YAML or JSON file')
    .option('--local [N]', 'start a coordinator and N workers on this machine for this run', positiveInteger)
    .option('--set <field=value...>', 'change fields, such as optimizer.learningRate=3e-4', collect)
    .option('--steps <N>', 'short for --set steps=N', positiveInteger)
    .option('--workers <N>', 'short for --set workers=N', positiveInteger)
    .option('--expert-workers <E>', 'run the experts of MoE layers in E processes of their own', wholeNumber(0))
    .option('--init-from <checkpoint>', 'start from these weights; a dense feed-forward is copied into every expert')
    .option('--dry-run', 'show the resolved configuration and what follows from it; start nothing')
    .option('--redis <url>', 'with --local: keep logs and queue in Redis')
    .option('--detach', 'return as soon as the run is accepted')
    .action((recipe: string, options: CommonOptions & LaunchOptions) =>
      run(options, async (context) => (await import('./commands/launch.js')).launch(context, recipe, options)),
    );
  addQueueOptions(launch);

  program
    .command('resume')
    .description('continue a run from its newest checkpoint')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .option('--workers <N>', 'train on another number of workers', positiveInteger)
    .option(
      '--expert-workers <E>',
      'run the experts in another number of processes; 0: in every worker',
      wholeNumber(0),
    )
    .option('--steps <N>', 'train up to this step, counted from the beginning of the run', positiveInteger)
    .option(
      '--from-step <N>',
      'continue from the checkpoint of an older step; newer checkpoints are renamed',
      positiveInteger,
    )
    .option('--from-start', 'start again from step 0; checkpoints are renamed')
    .option('--local [N]', 'start a coordinator and N workers on this machine for this run', positiveInteger)
    .option('--redis <url>', 'with --local: the Redis that keeps its log')
    .option('--detach', 'return as soon as the run is accepted')
    .action((runId: string, options: CommonOptions & ResumeOptions) =>
      run(options, async (context) => (await import('./commands/resume.js')).resume(context, runId, options)),
    );

  program
    .command('stop')
    .description('end a run after the current step, with a checkpoint')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .option('--no-checkpoint', 'end it at once; steps after the newest checkpoint are lost')
    .action((runId: string, options: CommonOptions & { checkpoint: boolean }) =>
      run(options, async (context) => (await import('./commands/stop.js')).stop(context, runId, options)),
    );

  program
    .command('watch')
    .description('follow a run; Ctrl-C leaves it running')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .action((runId: string, options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/watch.js')).watch(context, runId)),
    );

  program
    .command('status')
    .description('show the state of a run, and what to do next')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .action((runId: string, options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/status.js')).status(context, runId)),
    );

  program
    .command('ls')
    .description('list the runs')
    .action((options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/ls.js')).ls(context)),
    );

  program
    .command('compile')
    .description('compile a recipe for GPUs that need not be there: does it fit, what does it send?')
    .argument('<recipe|file>', 'a name from `weft recipes`, or a YAML or JSON file')
    .requiredOption('--devices <NxCHIP>', 'the GPUs of one host, such as 8xh100', devicesName)
    .option('--hosts <N>', 'hosts of so many GPUs, which one worker uses together', positiveInteger, 1)
    .option('--set <field=value...>', 'change fields, such as activationCheckpointing=full', collect)
    .action((recipe: string, options: CommonOptions & CompileOptions) =>
      run(options, async (context) => (await import('./commands/compile.js')).compile(context, recipe, options)),
    );

  const queue = addQueueCommands(program, run);

  program
    .command('recipes')
    .description('list the recipes')
    .action((options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/recipes.js')).listRecipes(context)),
    );

  program.commandsGroup('Data:');
  const data = program.command('data').description('prepare training data, and see what a run consumed');

  data
    .command('fetch')
    .description('build the demo data set from public packages')
    .addArgument(data.createArgument('<dataset>', 'the data set').choices(['demo']))
    .action((_dataset: string, options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/data.js')).dataFetch(context)),
    );

  data
    .command('index')
    .description('pack the shards of a recipe into sequences')
    .argument('<recipe|file>', 'whose data, tokenizer and sequence length to use')
    .option('--set <field=value...>', 'change fields, such as data.directory=/data', collect)
    .option('--force', 'pack again although the index is current')
    .action((recipe: string, options: CommonOptions & { set?: readonly string[]; force?: boolean }) =>
      run(options, async (context) => (await import('./commands/data.js')).dataIndex(context, recipe, options)),
    );

  data
    .command('inspect')
    .description('show what is in the index, or one packed sequence')
    .argument('<recipe|file>', 'whose data to look at')
    .option('--sequence <source:i>', 'show this sequence, such as captioned:0', sequenceName)
    .option('--verify', 'compare the hashes of all shards with those that were indexed')
    .option('--set <field=value...>', 'change fields, such as data.directory=/data', collect)
    .action((recipe: string, options: CommonOptions & { sequence?: SequenceName; verify?: boolean }) =>
      run(options, async (context) => (await import('./commands/data.js')).dataInspect(context, recipe, options)),
    );

  data
    .command('ledger')
    .description('show which sequences a run consumed, and when')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .option('--step <N>', 'what did this step consume?', positiveInteger)
    .option('--sequence <source:i>', 'when was this sequence of the source consumed?', sequenceName)
    .option('--check', 'was every sequence consumed exactly once? Exit code 1 when not')
    .action((runId: string, options: CommonOptions & DataLedgerOptions) =>
      run(options, async (context) => (await import('./commands/data-ledger.js')).dataLedger(context, runId, options)),
    );

  program.commandsGroup('Learning rates:');
  const lr = addLearningRateCommands(program, run);

  program.commandsGroup('Machines:');
  // Only for the help: bin/weft.js starts the programs of these three.
  program.command('coordinator').description('start a coordinator by hand').helpOption(false);
  program.command('worker').description('start a worker by hand, on this or another host').helpOption(false);
  program.command('expert-worker').description('start a worker for MoE experts by hand').helpOption(false);

  program
    .command('doctor')
    .description('check this machine: what works, what is missing, how to fix it')
    .action((options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/doctor.js')).doctor(context)),
    );

  for (const command of [...program.commands, ...data.commands, ...lr.commands, ...queue.commands])
    addCommonOptions(command);
  program.helpCommand(true);
  return program;
}

function createWeft({ stdout, commandName }: Terminal): Command {
  return (
    createProgram('weft', stdout)
      .description('Weft trains MM1-style multimodal language models on many machines.')
      .version(WEFT_VERSION, '-V, --version', 'print the version')
      .addHelpText(
        'after',
        `
Examples:
  ${commandName} launch debugTiny --local 2     train a small model on this machine
  ${commandName} launch mm1-3b --dry-run        see what a recipe means
  ${commandName} ls                             list the runs
  ${commandName} queue                          see the runs that train and wait
  ${commandName} resume <run> --steps 120       train a finished run further`,
      )
      // An option belongs to the command it follows: `weft queue` has a --home, and so has `weft queue move`.
      .enablePositionalOptions()
  );
}

/** Commands that may talk to a coordinator. */
const CLUSTER_COMMANDS = [
  ...['launch', 'resume', 'stop', 'watch', 'status', 'ls', 'doctor', 'sweep', 'ledger'],
  ...['queue', 'move', 'pause', 'cancel', 'history'],
];
/** Commands without the common options: groups of commands, and programs that parse their own. */
const GROUP_COMMANDS = ['data', 'lr', 'coordinator', 'worker', 'expert-worker'];

/** The options that every command has. */
function addCommonOptions(command: Command): void {
  if (GROUP_COMMANDS.includes(command.name())) return;
  command
    .option('--json', 'print JSON for programs')
    .option('--home <dir>', 'where runs are kept (default: .weft)', text);
  if (CLUSTER_COMMANDS.includes(command.name()))
    command.option('--coordinator <host:port>', 'the coordinator to ask', hostAndPort);
  command.addOption(new Option('--debug', 'print the stack of an error').hideHelp());
}

/** The command that the arguments begin with, for the help that fits an error: `data fetch`. */
function innermostCommand(command: Command, argv: readonly string[]): Command {
  const next = command.commands.find((each) => each.name() === argv[0]);
  return next === undefined ? command : innermostCommand(next, argv.slice(1));
}
