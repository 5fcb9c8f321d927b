import { didYouMean, WeftError } from '@weft/common';
import type { PowerLaw } from './power-law.js';

/** Published laws, by name. Without residuals they give no prediction interval. */
const PUBLISHED_LAWS: Readonly<Record<string, PowerLaw>> = {
  mm1: {
    name: 'mm1',
    target: 'learningRate',
    variables: ['params'],
    intercept: -0.5535,
    exponents: [-0.4214],
    ranges: [{ low: 9e6, high: 1.2e9 }],
    statistics: null,
    source:
      'MM1 (arXiv 2403.09611): η = exp(−0.4214·ln N − 0.5535), grid-searched at 9M, 85M, 302M and 1.2B non-embedding parameters for the best 8-shot average',
  },
  'step-law': {
    name: 'step-law',
    target: 'learningRate',
    variables: ['params', 'tokens'],
    intercept: Math.log(1.79),
    exponents: [-0.713, 0.307],
    ranges: [null, null],
    statistics: null,
    source: 'Step Law (arXiv 2503.04715): η = 1.79·N^−0.713·D^0.307, for the lowest pre-training loss',
  },
  'step-law-batch': {
    name: 'step-law-batch',
    target: 'batchSize',
    variables: ['tokens'],
    intercept: Math.log(0.58),
    exponents: [0.571],
    ranges: [null],
    statistics: null,
    source: 'Step Law (arXiv 2503.04715): B = 0.58·D^0.571 tokens per step, for the lowest pre-training loss',
  },
};

/** @throws WeftError `not_found`, with the most similar name */
export function publishedLaw(name: string): PowerLaw {
  const law = Object.hasOwn(PUBLISHED_LAWS, name) ? PUBLISHED_LAWS[name] : undefined;
  if (law !== undefined) return law;
  const names = Object.keys(PUBLISHED_LAWS);
  const meant = didYouMean(name, names);
  throw new WeftError('not_found', `there is no published law ${JSON.stringify(name)}`, {
    hint: `write ${meant ?? `one of ${names.join(', ')}`}, or the path of a fit written by weft lr fit`,
  });
}
