import { WeftError } from './error.js';

/** The name of a source of the mixture, as the configuration of a run gives it. */
export type SourceId = string;

/** The sources of a run that names none of its own, in the order of their weights 4:4:1. */
export const DEFAULT_SOURCES = ['captioned', 'interleaved', 'text'] as const;

/** One value per source, in the order of the configuration: sequences, weights, or bytes, as the name of the field tells. */
export type PerSource<T> = Readonly<Record<SourceId, T>>;

/** Builds a `PerSource` by asking for each source in order. */
export function perSource<T>(
  sources: readonly SourceId[],
  valueFor: (source: SourceId, index: number) => T,
): PerSource<T> {
  return Object.fromEntries(sources.map((source, index) => [source, valueFor(source, index)]));
}

/** Builds a `PerSource` from another one, source by source. */
export function mapSources<T, U>(values: PerSource<T>, map: (value: T, source: SourceId) => U): PerSource<U> {
  return Object.fromEntries(Object.entries(values).map(([source, value]) => [source, map(value, source)]));
}

/** The value of a source. @throws WeftError `not_found` that names the sources there are. */
export function ofSource<T>(values: PerSource<T>, source: SourceId): T {
  const value = Object.hasOwn(values, source) ? values[source] : undefined;
  if (value !== undefined) return value;
  throw new WeftError('not_found', `there is no source ${source}; the sources are ${Object.keys(values).join(', ')}`);
}
