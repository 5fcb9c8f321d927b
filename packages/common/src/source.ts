/** The three kinds of training data, in the order of the mixture 4:4:1. */
export const SOURCES = ['captioned', 'interleaved', 'text'] as const;
export type Source = (typeof SOURCES)[number];

/** One number per source: sequences, weights, or bytes, as the name of the field tells. */
export type PerSource<T> = Readonly<Record<Source, T>>;

/** Builds a `PerSource` by asking for each source in order. */
export function perSource<T>(valueFor: (source: Source, index: number) => T): PerSource<T> {
  return {
    captioned: valueFor('captioned', 0),
    interleaved: valueFor('interleaved', 1),
    text: valueFor('text', 2),
  };
}
