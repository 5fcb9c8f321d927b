import { createProgram, hostAndPort, oneOf, port, text, wholeNumber } from '@weft/command-line';
import { WEFT_VERSION } from '@weft/common';
import { type Command, CommanderError, Option } from 'commander';
import {
  addQueueOptions,
  atLeastZero,
  collect,
  collectList,
  devicesName,
  indexVersion,
  plannedDevices,
  positiveInteger,
  quantity,
  type SequenceName,
  sequenceName,
} from './arguments.js';
import type { CompileOptions } from './commands/compile.js';
import type { Shell } from './commands/completion.js';
import type { DataLedgerOptions } from './commands/data-ledger.js';
import type { DataReweightOptions } from './commands/data-reweight.js';
import type { DiagnoseOptions } from './commands/diagnose.js';
import type { ExportOptions } from './commands/export.js';
import type { LaunchOptions } from './commands/launch.js';
import type { LogsOptions } from './commands/logs.js';
import { addLearningRateCommands } from './commands/lr-commands.js';
import { addModelCommands } from './commands/model-commands.js';
import type { MonitorOptions } from './commands/monitor.js';
import type { ProfileOptions } from './commands/profile.js';
import { addQueueCommands } from './commands/queue-commands.js';
import type { ResumeOptions } from './commands/resume.js';
import { addWeightsCommands } from './commands/weights-commands.js';
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
    // Nothing, or the name of a group alone, asks what there is.
    if (thrown instanceof CommanderError && thrown.code === 'commander.help') {
      innermostCommand(program, argv).outputHelp();
      return EXIT.done;
    }
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
    .option(
      '--init-from <checkpoint...>',
      'start from these weights, or part=checkpoint for each part; a dense feed-forward is copied into every expert',
      collect,
    )
    .option('--dry-run', 'show the resolved configuration and what follows from it; start nothing')
    .option(
      '--devices <NxM>',
      'with --dry-run: plan for such GPUs a host, 8x80GiB or 8xh100, or workers here, 2xcpu',
      plannedDevices,
    )
    .option('--hosts <N>', 'with --devices: so many hosts, a worker on each; default: 1', positiveInteger)
    .option('--chip <name>', 'with --devices: what the GPUs are, to estimate time: a100, h100, h200')
    .option('--network <Gbit/s>', 'with --devices: the network of one host; default: 400', quantity)
    .option('--price <amount>', 'with --devices: of one GPU for an hour, to estimate the cost', atLeastZero)
    .option('--no-compile', 'with --devices: formulas alone, although the compiler for the chip is here')
    .option('--redis <url>', 'with --local: keep logs and queue in Redis')
    .option('--detach', 'return as soon as the run is accepted')
    .action((recipe: string, options: CommonOptions & LaunchOptions) =>
      run(options, async (context) => (await import('./commands/launch.js')).launch(context, recipe, options)),
    );
  addQueueOptions(launch).option(
    '--after <run...>',
    'start when these runs have finished, such as that of an encoder',
    collectList,
  );

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
    .option(
      '--set <field=value...>',
      'change fields of engine, checkpoint and divergence, such as engine.mesh.fsdp=4 or divergence.policy=rollback',
      collect,
    )
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
    .command('checkpoint')
    .description('save a checkpoint after the current step; the run goes on')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .action((runId: string, options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/stop.js')).saveCheckpoint(context, runId)),
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
    .command('logs')
    .description('print what the processes of this home wrote about a run')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .option('--rank <R>', 'of one rank alone', wholeNumber(0))
    .option('--follow', 'go on until the run ends; Ctrl-C leaves it running')
    .option(
      '--level <level>',
      'debug, info, warn or error: what is as bad, or worse',
      oneOf('debug', 'info', 'warn', 'error'),
    )
    .action((runId: string, options: CommonOptions & LogsOptions) =>
      run(options, async (context) => (await import('./commands/logs.js')).logs(context, runId, options)),
    );

  program
    .command('export')
    .description('write all curves of a run for other tools')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .requiredOption('--format <format>', 'csv, tensorboard or wandb', oneOf('csv', 'tensorboard', 'wandb'))
    .option('--output <path>', 'the file or folder to write; default: named for the run, here')
    .action((runId: string, options: CommonOptions & ExportOptions) =>
      run(options, async (context) => (await import('./commands/export.js')).exportRun(context, runId, options)),
    );

  program
    .command('profile')
    .description('record what all processes of a run do in its next steps, for ui.perfetto.dev')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .option('--steps <N>', 'so many steps, at most 100', wholeNumber(1, 100), 5)
    .option('--output <file>', 'the file to write; default: named for the run, here')
    .action((runId: string, options: CommonOptions & ProfileOptions) =>
      run(options, async (context) => (await import('./commands/profile.js')).profile(context, runId, options)),
    );

  program
    .command('ls')
    .description('list the runs')
    .action((options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/ls.js')).ls(context)),
    );

  program
    .command('page')
    .description('print the address of the web page that the coordinator of this home serves')
    .action((options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/page.js')).page(context)),
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

  program
    .command('diagnose')
    .description('train a step again on this machine, and say whether its spike comes from data or hardware')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .requiredOption('--step <S>', 'the step, as `weft status` or `weft history` name it', positiveInteger)
    .option('--set <engine.field=value...>', 'how it is computed here, such as engine.backend=javascript', collect)
    .action((runId: string, options: CommonOptions & DiagnoseOptions) =>
      run(options, async (context) => (await import('./commands/diagnose.js')).diagnose(context, runId, options)),
    );

  program
    .command('diff')
    .description('show in what two runs differ: configuration, outcome, and from which step on their losses')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .argument('<run>', 'of another one')
    .action((one: string, other: string, options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/diff.js')).diff(context, one, other)),
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
    .option('--sheet <file.png>', 'draw the images of that sequence, as the model sees them')
    .option('--verify', 'compare the hashes of all shards with those that were indexed')
    .option('--set <field=value...>', 'change fields, such as data.directory=/data', collect)
    .action((recipe: string, options: CommonOptions & { sequence?: SequenceName; verify?: boolean; sheet?: string }) =>
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

  data
    .command('reweight')
    .description('change the mixture of a run from a step on: what it has consumed counts on')
    .argument('<run>', 'the id of the run, or the beginning of it')
    .argument(
      '[weights...]',
      'a weight for every source, or for every dataset of one: captioned=5 interleaved=0.5 text=1/3',
    )
    .requiredOption('--from-step <N>', 'the first step of the new mixture, not trained yet', positiveInteger)
    .option('--index-version <N|newest>', 'go on with the shards that a version of the data index added', indexVersion)
    .option('--reason <text>', "why, for the run's log")
    .action((runId: string, weights: string[], options: CommonOptions & DataReweightOptions) =>
      run(options, async (context) =>
        (await import('./commands/data-reweight.js')).dataReweight(context, runId, weights, options),
      ),
    );

  program.commandsGroup('Models:');
  addModelCommands(program, run);
  const weights = addWeightsCommands(program, run);

  program.commandsGroup('Learning rates:');
  const lr = addLearningRateCommands(program, run);

  program.commandsGroup('Machines:');
  // Only for the help: bin/weft.js starts the programs of these three.
  program.command('coordinator').description('start a coordinator by hand').helpOption(false);
  program.command('worker').description('start a worker by hand, on this or another host').helpOption(false);
  program.command('expert-worker').description('start a worker for MoE experts by hand').helpOption(false);

  program
    .command('monitor')
    .description('run Prometheus, and Grafana where it is installed, for this home; Ctrl-C ends them')
    .option('--metrics <host:port>', 'of a coordinator elsewhere; default: the one of this home', hostAndPort)
    .option('--port <port>', 'of Prometheus', port, 9090)
    .option('--grafana-port <port>', 'of Grafana', port, 3000)
    .option('--time-scale <factor>', 'all times of alerts so many times as long: 0.01 rehearses them', quantity, 1)
    .action((options: CommonOptions & MonitorOptions) =>
      run(options, async (context) => (await import('./commands/monitor.js')).monitor(context, options)),
    );

  program
    .command('doctor')
    .description('check this machine: what works, what is missing, how to fix it')
    .action((options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/doctor.js')).doctor(context)),
    );

  program
    .command('completion')
    .description('print what completes the words of weft in a shell: eval "$(weft completion bash)"')
    .addArgument(program.createArgument('<shell>', 'of your terminal').choices(['bash', 'zsh', 'fish']))
    .action((shell: Shell, options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/completion.js')).printCompletion(context, shell)),
    );
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action((words: readonly string[], options: CommonOptions) =>
      run(options, async (context) => (await import('./commands/completion.js')).complete(context, program, words)),
    );

  for (const command of [...program.commands, ...data.commands, ...weights.commands, ...lr.commands, ...queue.commands])
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
  ...['launch', 'resume', 'stop', 'checkpoint', 'watch', 'status', 'ls', 'doctor', 'sweep', 'ablate', 'ledger'],
  ...['queue', 'move', 'pause', 'cancel', 'history', 'diagnose', 'logs', 'export', 'profile', 'diff'],
];
/** Commands without the common options: groups of commands, and programs that parse their own. */
const GROUP_COMMANDS = ['data', 'weights', 'lr', 'coordinator', 'worker', 'expert-worker'];

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
