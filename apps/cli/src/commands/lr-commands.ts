import { type Command, Option } from 'commander';
import { collect, level, positiveInteger, quantities, quantity, rejectConflicting } from '../arguments.js';
import type { CommonOptions, RunCommand } from '../context.js';
import type { LrFitOptions } from './lr-fit.js';
import type { LrPredictOptions } from './lr-predict.js';
import type { LrSweepOptions } from './lr-sweep.js';

/** `weft lr …`: learning rates by model size. Returns the group, for the options every command has. */
export function addLearningRateCommands(program: Command, run: RunCommand): Command {
  const lr = program.command('lr').description('fit learning rates on small models, predict those of large ones');
  const form = () =>
    new Option('--form <form>', 'what depends on what').choices(['eta-n', 'eta-nd', 'batch-d']).default('eta-n');

  lr.command('predict')
    .description('predict the learning rate of a model')
    .argument('[recipe|file]', 'take N and D from this run')
    .option('--params <N>', 'non-embedding parameters, such as 30e9 or 30B', quantity)
    .option('--tokens <D>', 'tokens of the whole run, for laws that depend on them', quantity)
    .option('--fit <law|file>', 'mm1, step-law, step-law-batch, or a file of weft lr fit', 'mm1')
    .option('--level <p>', 'of the prediction interval', level, 0.95)
    .option('--set <field=value...>', 'change fields of the run', collect)
    .option('--plot <file.svg>', 'draw the law and the prediction')
    .action((recipe: string | undefined, options: CommonOptions & LrPredictOptions) =>
      run(options, async (context) => (await import('./lr-predict.js')).lrPredict(context, recipe, options)),
    );

  lr.command('fit')
    .description('fit a law to points, or to a grid with losses')
    .argument('<points.csv>', 'columns params,learning_rate[,loss][,tokens][,weight], and scores of your own')
    .addOption(form())
    .option('--name <name>', 'how the fit is called (default: the name of the file)')
    .option('--level <p>', 'of all intervals', level, 0.95)
    .option('--metric <column>', 'what the runs of a grid are compared by (default: loss)')
    .option('--higher-is-better', 'the metric is a score, not a loss')
    .addOption(
      new Option('--weights <how>', 'of the optima of a grid (default: equal)').choices(['equal', 'uncertainty']),
    )
    .option('--predict <N...>', 'predict for these sizes too', quantities)
    .option('--tokens <D>', 'tokens of the run to predict for', quantity)
    .option('--out <fit.json>', 'write the fit, for weft lr predict and optimizer.learningRate=auto:fit.json')
    .option('--plot <file.svg>', 'draw points, law and band')
    .action((points: string, options: CommonOptions & LrFitOptions) =>
      run(options, async (context) => (await import('./lr-fit.js')).lrFit(context, points, options)),
    );

  lr.command('sweep')
    .description('train scales × learning rates, then fit; run it again to come back')
    .argument('<sweep.yaml>', 'scales, rates and what they are compared by')
    .option('--local [N]', 'start a coordinator and N workers on this machine for this sweep', positiveInteger)
    .option('--redis <url>', 'with --local: keep logs and queue in Redis')
    .option('--dry-run', 'show the runs there would be; start nothing')
    .action((file: string, options: CommonOptions & LrSweepOptions) =>
      run(options, async (context) => {
        rejectConflicting(options);
        return (await import('./lr-sweep.js')).lrSweep(context, file, options);
      }),
    );

  return lr;
}
