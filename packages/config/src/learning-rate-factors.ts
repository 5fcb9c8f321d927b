import type { OptimizerConfig } from './run-config.js';

type Factors = OptimizerConfig['learningRateFactors'];

/**
 * By what the learning rate and the weight decay of a parameter are multiplied: the factor of the longest pattern that
 * fits its name, 1 where none does. 0: it is frozen.
 *
 * @param parameter such as `decoder/layers/0/attention/query`
 */
export function learningRateFactor(factors: Factors, parameter: string): number {
  const [longest] = Object.keys(factors)
    .filter((pattern) => fitsPattern(pattern, parameter))
    .toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1));
  return longest === undefined ? 1 : (factors[longest] ?? 1);
}

/**
 * Whether a pattern fits a name: the name itself, or a path that it begins with. `*` stands for any text, so that `vision`
 * and `decoder/layers/1*` are patterns.
 */
export function fitsPattern(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}(/|$)`).test(name);
}
