import type { FieldPath } from './fields.js';

/** One origin of settings: a recipe, a file, the command line. */
export interface ConfigLayer {
  /** Any part of a `RunConfigInput`, not yet checked. */
  readonly value: unknown;
  /** Where a field of this layer was written, for people: `run.yaml:12`, `--set`. */
  readonly where?: (path: FieldPath) => string;
}

export type Group = Readonly<Record<string, unknown>>;

export function isGroup(value: unknown): value is Group {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Lays the layers over one another, the last on top: groups are joined, single values replaced. */
export function mergeLayers(layers: readonly ConfigLayer[]): unknown {
  return layers.map(({ value }) => expandRatio(value)).reduce(merge, {});
}

function merge(below: unknown, above: unknown): unknown {
  if (above === undefined) return below;
  if (!isGroup(below) || !isGroup(above)) return above;
  const names = new Set([...Object.keys(below), ...Object.keys(above)]);
  return Object.fromEntries([...names].map((name) => [name, merge(own(below, name), own(above, name))]));
}

const own = (group: Group, name: string) => (Object.hasOwn(group, name) ? group[name] : undefined);

const RATIO = /^(\d+):(\d+):(\d+)$/;

/** `weights: 4:4:1` is short for the three fields, in the order captioned, interleaved, text. */
function expandRatio(value: unknown): unknown {
  if (!isGroup(value) || !isGroup(value.data) || typeof value.data.weights !== 'string') return value;
  const [, captioned, interleaved, text] = RATIO.exec(value.data.weights) ?? [];
  if (text === undefined) return value;
  const weights = { captioned: Number(captioned), interleaved: Number(interleaved), text: Number(text) };
  return { ...value, data: { ...value.data, weights } };
}
