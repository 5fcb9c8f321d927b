import { count, large } from '@weft/common';
import { isEncoderTask, type RunConfig } from '@weft/config';
import { recipe, recipes } from '@weft/recipes';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { printLines, span, table } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

/** `weft recipes`: every named run and its main numbers. */
export async function listRecipes({ terminal, json }: CommandContext): Promise<number> {
  const configs = Object.keys(recipes).map(recipe);
  if (json) {
    printJson(terminal, { recipes: configs });
    return EXIT.done;
  }
  const parameters = await parameterTexts(configs);
  const lines = table(
    [
      { title: 'recipe' },
      { title: 'task' },
      { title: 'parameters', align: 'right' },
      { title: 'decoder' },
      { title: 'connector' },
      { title: 'steps', align: 'right' },
      { title: 'workers', align: 'right' },
      { title: 'batch', align: 'right' },
      { title: 'tokens', align: 'right' },
      { title: 'precision' },
    ],
    configs.map(({ recipe: name, task, steps, workers, globalBatchSize, precision, model }, at) => [
      span(name, 'bold'),
      task.kind,
      parameters[at] ?? '',
      isEncoderTask(task) ? 'none' : `${model.decoder.depth} × ${model.decoder.width}`,
      isEncoderTask(task) ? 'none' : `${model.connector.kind} ${model.connector.tokensPerImage}`,
      count(steps),
      count(workers),
      `${globalBatchSize} × ${model.sequenceLength}`,
      large(steps * globalBatchSize * model.sequenceLength),
      precision,
    ]),
  );
  printLines(terminal, lines);
  print(terminal);
  print(terminal, 'Parameters in brackets: what one token uses, where experts share the work.');
  print(terminal, `See one whole: ${terminal.commandName} launch <recipe> --dry-run`);
  return EXIT.done;
}

/** Of what is trained and of frozen encoders: `3.36 B`; with experts what a token uses, too: `64.6 B (4.75 B)`. */
async function parameterTexts(configs: readonly RunConfig[]): Promise<string[]> {
  // Late: programs that ask for JSON need no shapes.
  const [{ countParameters }, { taskOf }] = await Promise.all([import('@weft/model'), import('@weft/tasks')]);
  return configs.map((config) => {
    const { total, active } = countParameters(config.model, taskOf({ ...config, expertWorkers: 0 }).parameters);
    return active === total ? large(total) : `${large(total)} (${large(active)})`;
  });
}
