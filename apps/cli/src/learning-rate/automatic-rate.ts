import { WeftError } from '@weft/common';
import type { AutomaticRate } from '@weft/config';
import { formula, parameterCounts, predict } from '@weft/scaling';
import { loadLaw } from './load-law.js';

/** Digits of a learning rate that mean anything. */
const DIGITS = 4;

/** What resolves `optimizer.learningRate: auto:<law>`. Errors as `loadLaw`, and for a law of something else. */
export async function automaticRate(nameOrFile: string, home: string): Promise<AutomaticRate> {
  const law = await loadLaw(nameOrFile, home);
  if (law.target !== 'learningRate')
    throw new WeftError('invalid_argument', `${nameOrFile} is a law of the batch size, not of the learning rate`, {
      cure: 'write auto, auto:step-law, or auto: and a file of weft lr fit',
    });
  return ({ model, steps, globalBatchSize }) => {
    const params = parameterCounts(model).backbone;
    const tokens = steps * globalBatchSize * model.sequenceLength;
    const { value, interval, level, outside } = predict(law, { params, tokens });
    return {
      value: rounded(value),
      fit: nameOrFile,
      formula: formula(law),
      source: law.source,
      params,
      tokens,
      interval: interval === null ? null : { low: rounded(interval.low), high: rounded(interval.high), level },
      extrapolation: rounded(Math.max(1, ...outside.map(({ factor }) => factor))),
    };
  };
}

const rounded = (value: number) => Number(value.toPrecision(DIGITS));
