import { type Command, Option } from 'commander';
import { positiveInteger } from '../arguments.js';
import type { CommonOptions, RunCommand } from '../context.js';
import type { ExportCommandOptions, ImportCommandOptions } from './weights.js';

/** `weft weights …`: public weights in, runs out. Returns the group, for the options every command has. */
export function addWeightsCommands(program: Command, run: RunCommand): Command {
  const weights = program.command('weights').description('import public weights, export a run for other tools');

  weights
    .command('import')
    .description('make a checkpoint of a public encoder or decoder, to begin a run from')
    .argument('<folder>', 'a model as transformers or open_clip save it: config, safetensors, tokenizer')
    .requiredOption('--out <folder>', 'where the checkpoint, its settings and its tokenizer go')
    .option(
      '--feature-layer <N>',
      "the encoder's block that the connector is to read (default: the last)",
      positiveInteger,
    )
    .option('--no-output-norm', 'read it without the last norm of the encoder, as LLaVA does')
    .action((folder: string, options: CommonOptions & ImportCommandOptions) =>
      run(options, async (context) => (await import('./weights.js')).weightsImport(context, folder, options)),
    );

  weights
    .command('export')
    .description('write the weights of a checkpoint as other tools read them')
    .argument('<run|checkpoint>', 'the id of a run, or the folder of a run or of a checkpoint')
    .requiredOption('--out <folder>', 'the folder to write')
    .addOption(
      new Option('--part <part>', 'the whole model in a folder like LLaVA, or one part as its own family')
        .choices(['all', 'vision', 'decoder'])
        .default('all'),
    )
    .addOption(new Option('--precision <dtype>', 'of the written values').choices(['fp32', 'bf16']).default('fp32'))
    .option('--step <N>', 'the checkpoint of this step (default: the newest)', positiveInteger)
    .action((model: string, options: CommonOptions & ExportCommandOptions) =>
      run(options, async (context) => (await import('./weights.js')).weightsExport(context, model, options)),
    );
  return weights;
}
