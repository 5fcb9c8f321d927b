import { DEFAULT_SOURCES, isJsonObject, type JsonObject, perSource } from '@weft/common';
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
 * sources of its data begins the mixture anew: sources and weights below it do not count.
 */
export function mergeLayers(layers: readonly ConfigLayer[]): unknown {
  return layers.reduce<unknown>(
    (below, layer) => expandRatio(merge(namesSources(layer) ? withoutMixture(below) : below, layer.value)),
    {},
  );
}

/** Whether a layer names the sources of its data. */
export function namesSources({ value }: ConfigLayer): boolean {
  return isJsonObject(value) && isJsonObject(value.data) && isJsonObject(value.data.sources);
}

function withoutMixture(value: unknown): unknown {
  if (!isJsonObject(value) || !isJsonObject(value.data)) return value;
  const { sources: _, weights: __, ...data } = value.data;
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

const RATIO = /^\d+(:\d+)*$/;

/** `weights: 4:4:1` is short for one field for each source, in the order of the sources. */
function expandRatio(value: unknown): unknown {
  if (!isJsonObject(value) || !isJsonObject(value.data) || typeof value.data.weights !== 'string') return value;
  const names = isJsonObject(value.data.sources) ? Object.keys(value.data.sources) : DEFAULT_SOURCES;
  const parts = RATIO.test(value.data.weights) ? value.data.weights.split(':').map(Number) : [];
  if (parts.length !== names.length) return value;
  return { ...value, data: { ...value.data, weights: perSource(names, (_, index) => parts[index]) } };
}
