import { didYouMean, WeftError } from '@weft/common';
import { fitsPattern, type RunConfig } from '@weft/config';
import { isExpertStack } from '@weft/model';
import { checkInitialWeights } from './initial-weights.js';
import { taskOf } from './task-of.js';
import { isTrained } from './task-parameter.js';

/**
 * Checks before a run is launched what follows from its configuration only together with the parameters of its model: that
 * the patterns of learning rates fit some, and that it can begin from the checkpoints it names.
 *
 * @returns what of those checkpoints is not used
 * @throws WeftError `invalid_argument` for patterns that fit nothing, freeze everything, or freeze experts in other
 *         processes; as `checkInitialWeights`
 */
export async function checkRun(config: RunConfig): Promise<readonly string[]> {
  const { learningRateFactors } = config.optimizer;
  const { parameters } = taskOf({ ...config, expertWorkers: 0 });
  for (const pattern of Object.keys(learningRateFactors)) {
    if (parameters.some(({ name }) => fitsPattern(pattern, name))) continue;
    const meant = didYouMean(pattern, new Set(parameters.flatMap(({ name }) => pathsOf(name))));
    throw refusal(
      `optimizer.learningRateFactors has ${JSON.stringify(pattern)}, which no parameter's name begins with`,
      meant === undefined ? 'name a part such as connector, or a path such as decoder/embedding' : `write ${meant}`,
    );
  }
  if (!parameters.some(isTrained))
    throw refusal('optimizer.learningRateFactors freezes every parameter', 'leave a part of the model to be trained');
  const frozenExpert = parameters.find((parameter) => isExpertStack(parameter.name) && !isTrained(parameter));
  if (config.expertWorkers > 0 && frozenExpert !== undefined)
    throw refusal(
      `optimizer.learningRateFactors freezes ${frozenExpert.name}, but expertWorkers is ${config.expertWorkers}: expert workers train what they hold`,
      'set expertWorkers to 0',
    );
  return checkInitialWeights(config);
}

/** `decoder`, `decoder/layers`, … up to the name itself. */
function pathsOf(name: string): string[] {
  const words = name.split('/');
  return words.map((_, i) => words.slice(0, i + 1).join('/'));
}

function refusal(sentence: string, hint: string): WeftError {
  return new WeftError('invalid_argument', sentence, { hint });
}
