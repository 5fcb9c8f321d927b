import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { MetricDeclaration } from './declare-metric.js';

type SeriesOf<Declaration> =
  Declaration extends MetricDeclaration<'gauge', infer Label>
    ? Gauge<Label>
    : Declaration extends MetricDeclaration<'counter', infer Label>
      ? Counter<Label>
      : Declaration extends MetricDeclaration<'histogram', infer Label>
        ? Histogram<Label>
        : never;

/** The series of some declarations, in a registry, by the same names. */
export type SeriesIn<Declarations> = { readonly [Name in keyof Declarations]: SeriesOf<Declarations[Name]> };

/** Makes every declared series. */
export function createSeries<const Declarations extends Readonly<Record<string, MetricDeclaration>>>(
  registry: Registry,
  declarations: Declarations,
): SeriesIn<Declarations> {
  const made = Object.entries(declarations).map(([key, declaration]) => [key, create(registry, declaration)]);
  // The types of the values follow from `kind` and `labels` of each declaration.
  return Object.fromEntries(made) as SeriesIn<Declarations>;
}

function create(registry: Registry, { name, kind, help, labels, buckets }: MetricDeclaration) {
  const options = { name, help, labelNames: labels, registers: [registry] };
  if (kind === 'gauge') return new Gauge(options);
  return kind === 'counter' ? new Counter(options) : new Histogram({ ...options, buckets: [...buckets] });
}
