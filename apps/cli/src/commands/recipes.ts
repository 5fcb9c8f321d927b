import { count, large } from '@weft/common';
import { isEncoderTask } from '@weft/config';
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
  const lines = table(
    [
      { title: 'recipe' },
      { title: 'task' },
      { title: 'decoder' },
      { title: 'connector' },
      { title: 'steps', align: 'right' },
      { title: 'workers', align: 'right' },
      { title: 'batch', align: 'right' },
      { title: 'tokens', align: 'right' },
      { title: 'precision' },
    ],
    configs.map(({ recipe: name, task, steps, workers, globalBatchSize, precision, model }) => [
      span(name, 'bold'),
      task.kind,
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
  print(terminal, `See one whole: ${terminal.commandName} launch <recipe> --dry-run`);
  return EXIT.done;
}
