import { wholeNumber } from '@weft/command-line';
import type { Command } from 'commander';
import {
  atLeastZero,
  collect,
  collectInOrder,
  collectList,
  collectSteps,
  positiveInteger,
  rejectConflicting,
  share,
  wholeNumbers,
} from '../arguments.js';
import type { CommonOptions, RunCommand } from '../context.js';
import type { AblateOptions } from './ablate.js';
import type { EvaluateOptions } from './evaluate.js';
import type { GenerateCommandOptions } from './generate.js';

/** `weft generate`, `weft eval` and `weft ablate`: what a trained model can do. */
export function addModelCommands(program: Command, run: RunCommand): void {
  program
    .command('generate')
    .description('let a checkpoint continue texts and images')
    .argument('<run|checkpoint>', 'the id of a run, or the folder of a run or of a checkpoint')
    .option('--prompt <text>', 'continue this; with --image in any order, or with marks <image>', collectInOrder)
    .option('--image <file>', 'an image of the prompt', collectInOrder)
    .option('--step <N...>', 'the checkpoint of this step; several: one after the other', collectSteps)
    .option('--max-tokens <N>', 'end after so many tokens', positiveInteger, 128)
    .option('--temperature <T>', '0 takes the likeliest token; higher is bolder', atLeastZero, 0)
    .option('--top-p <P>', 'draw from the likeliest tokens that have this probability together', share, 1)
    .option('--seed <N>', 'the same seed draws the same', wholeNumber(0), 0)
    .option('--stop <text...>', 'end where this text comes, and leave it out', collect)
    .option('--cut', 'cut off the beginning of a prompt that is too long')
    .option('--raw', 'take the prompt as it is, also where the run was trained on conversations')
    .option('--input <file.jsonl>', 'continue every prompt of a file: {"prompt": "<image>…", "images": ["a.png"]}')
    .option('--output <file.jsonl>', 'where the answers go, one a line, in the order of the prompts')
    .option('--resume', 'go on behind the last line of the output')
    .option('--batch <N>', 'with --input: continue so many prompts at a time', positiveInteger, 8)
    .option('--set <field=value...>', 'change fields, such as engine.backend=javascript', collect)
    .action((model: string, options: CommonOptions & GenerateCommandOptions) =>
      run(options, async (context) => (await import('./generate.js')).generate(context, model, options)),
    );

  program
    .command('eval')
    .description('score a checkpoint by captions, questions and text tasks')
    .argument('<run|checkpoint>', 'the id of a run, or the folder of a run or of a checkpoint')
    .option('--tasks <tasks...>', 'names of tasks of the run, files of tasks, or demo', collectList)
    .option('--shots <N,N,...>', 'solved examples before the one that is asked, such as 0,4,8', wholeNumbers)
    .option('--step <N...>', 'the checkpoint of this step; several: one after the other', collectSteps)
    .option('--limit <N>', 'the first so many examples of every task', positiveInteger)
    .option('--seed <N>', 'the same seed draws the same shots', wholeNumber(0))
    .option('--output <dir>', "where the results go; default: the run's evaluations/step-…")
    .option('--batch <N>', 'answer so many prompts at a time', positiveInteger, 8)
    .option('--set <field=value...>', 'change fields, such as engine.backend=javascript', collect)
    .action((model: string, options: CommonOptions & EvaluateOptions) =>
      run(options, async (context) => (await import('./evaluate.js')).evaluate(context, model, options)),
    );

  program
    .command('ablate')
    .description("train and score the runs of one of the paper's figures, or of a grid of your own")
    .argument('<figure|grid.yaml>', 'encoder, resolution, connector, data, encoder-loss, or the file of a grid')
    .option('--recipe <recipe|file>', 'what every run begins with; default: debugTiny')
    .option('--steps <N>', 'short for --set steps=N', positiveInteger)
    .option('--workers <N>', 'workers of every run', positiveInteger)
    .option('--seeds <N>', 'train every cell with so many seeds', positiveInteger)
    .option('--shots <N,N,...>', 'solved examples before the one that is asked, such as 0,4,8', wholeNumbers)
    .option('--tasks <tasks...>', 'files of tasks, or demo', collectList)
    .option('--only <axis=value...>', 'only these values of an axis, such as tokens=4', collect)
    .option('--set <field=value...>', 'change fields of every run, or first.<name>.<field> of one before them', collect)
    .option('--local [N]', 'start a coordinator and N workers on this machine for this grid', positiveInteger)
    .option('--redis <url>', 'with --local: keep logs and queue in Redis')
    .option('--dry-run', 'show the runs there would be; start nothing')
    .action((name: string, options: CommonOptions & AblateOptions) =>
      run(options, async (context) => {
        rejectConflicting(options);
        return (await import('./ablate.js')).ablate(context, name, options);
      }),
    );
}
