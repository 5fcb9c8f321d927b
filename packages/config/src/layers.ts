import { DEFAULT_SOURCES, isJsonObject, type JsonObject, perSource } from '@weft/common';
import { expandEvaluation } from './evaluation-tasks.js';
import type { FieldPath } from './fields.js';

/** One origin of settings: a recipe, a file, the command line. */
export interface ConfigLayer {
  /** Any part of a `RunConfigInput`, not yet checked. */
  readonly value: unknown;
  /** Where a field of this layer was written, for people: `run.yaml:12`, `--set`. */
  readonly where?: (path: FieldPath) => string;
}

/**
 * Lays the layers over one another, the last on top: groups are joined, single values replaced. A layer that names the
 * sources of its data begins the mixture anew: sources, weights and datasets below it do not count.
 */
export function mergeLayers(layers: readonly ConfigLayer[]): unknown {
  return withWholeWeights(
    layers.reduce<unknown>(
      (below, layer) =>
        expandRatio(merge(namesSources(layer) ? withoutMixture(below) : below, expandEvaluation(layer.value))),
      {},
    ),
  );
}

/** Whether a layer names the sources of its data. */
export function namesSources({ value }: ConfigLayer): boolean {
  return isJsonObject(value) && isJsonObject(value.data) && isJsonObject(value.data.sources);
}

function withoutMixture(value: unknown): unknown {
  if (!isJsonObject(value) || !isJsonObject(value.data)) return value;
  const { sources: _, weights: __, datasets: ___, ...data } = value.data;
  return { ...value, data };
}

/** Joins two values: groups field by field, of other values the one above. */
export function merge(below: unknown, above: unknown): unknown {
  if (above === undefined) return below;
  if (!isJsonObject(below) || !isJsonObject(above)) return above;
  const names = new Set([...Object.keys(below), ...Object.keys(above)]);
  return Object.fromEntries([...names].map((name) => [name, merge(own(below, name), own(above, name))]));
}

const own = (group: JsonObject, name: string) => (Object.hasOwn(group, name) ? group[name] : undefined);

/** A weight as people write it: `4`, `0.45` or `1/3`. */
const SHARE = /^(\d{1,15})(?:\.(\d{1,9}))?(?:\/(\d{1,9}))?$/;

/** Whether a text is a ratio of weights: `4:4:1`, `0.45:0.45:0.1`, `1/3:2/3`. */
export const isRatio = (text: string) => text.split(':').every((part) => SHARE.test(part.trim()));

/** `weights: 4:4:1` is short for one field for each source, in the order of the sources. */
function expandRatio(value: unknown): unknown {
  if (!isJsonObject(value) || !isJsonObject(value.data) || typeof value.data.weights !== 'string') return value;
  const names = isJsonObject(value.data.sources) ? Object.keys(value.data.sources) : DEFAULT_SOURCES;
  const parts = isRatio(value.data.weights) ? value.data.weights.split(':').map(weightOf) : [];
  if (parts.length !== names.length) return value;
  return { ...value, data: { ...value.data, weights: perSource(names, (_, index) => parts[index]) } };
}

/** A number where the text is one; a fraction stays a text until all weights are known. */
function weightOf(part: string): number | string {
  return /^\d+$/.test(part.trim()) ? Number(part) : part.trim();
}

/**
 * Weights that are fractions become the smallest whole numbers in the same ratio, exactly: 0.45:0.45:0.1 is 9:9:2. A weight
 * that is no fraction is left to the schema, which refuses it.
 */
function withWholeWeights(value: unknown): unknown {
  if (!isJsonObject(value) || !isJsonObject(value.data)) return value;
  const weights = wholeWeights(value.data.weights);
  return weights === undefined ? value : { ...value, data: { ...value.data, weights } };
}

/** @returns undefined where all are whole, where one is no fraction, and where a whole number would be too large */
export function wholeWeights(weights: unknown): Record<string, number> | undefined {
  if (!isJsonObject(weights)) return undefined;
  const entries = Object.entries(weights);
  if (entries.every(([, weight]) => Number.isInteger(weight))) return undefined;
  const fractions = entries.map(([, weight]) => fractionOf(weight));
  if (!fractions.every((fraction) => fraction !== undefined)) return undefined;
  const common = fractions.reduce((multiple, { denominator }) => lcm(multiple, denominator), 1n);
  const scaled = fractions.map(({ numerator, denominator }) => (numerator * common) / denominator);
  const divisor = scaled.reduce(gcd, 0n);
  const whole = scaled.map((each) => Number(divisor === 0n ? each : each / divisor));
  if (whole.some((each) => each > LARGEST_WEIGHT)) return undefined;
  return Object.fromEntries(entries.map(([name], i) => [name, whole[i] ?? 0]));
}

const LARGEST_WEIGHT = 1_000_000;

interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** A number stands for the decimal fraction that is written for it: 0.1 is 1/10. */
function fractionOf(weight: unknown): Fraction | undefined {
  const [match, whole = '', digits = '', divisor = '1'] = SHARE.exec(String(weight)) ?? [];
  if (match === undefined || BigInt(divisor) === 0n) return undefined;
  return { numerator: BigInt(whole + digits), denominator: 10n ** BigInt(digits.length) * BigInt(divisor) };
}

function gcd(a: bigint, b: bigint): bigint {
  let [larger, smaller] = [a, b];
  while (smaller !== 0n) [larger, smaller] = [smaller, larger % smaller];
  return larger;
}

const lcm = (a: bigint, b: bigint) => (a / gcd(a, b)) * b;
