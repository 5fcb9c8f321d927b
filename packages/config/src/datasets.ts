import { mapSources, type PerSource, type SourceId, WeftError } from '@weft/common';
import { type DataConfig, type DatasetSettings, DEFAULT_DATASET, type SourceKind } from './data-config.js';
import { wholeWeights } from './layers.js';

type Mixture = Pick<DataConfig, 'sources' | 'weights' | 'datasets'>;

/**
 * Makes every dataset of a source that has several a source of its own: whatever is counted, held out or measured for each
 * source is so for each dataset. The weight of the source is divided as the datasets' weights say, exactly.
 * `DatasetSettings.weight` becomes null, so that nothing is divided twice.
 *
 * @throws WeftError `invalid_argument` for weights that are no ratio of numbers of a usual size
 */
export function expandDatasets<Data extends Mixture>(data: Data): Data {
  const members = mapSources(data.sources, (_, source) => membersOf(data.datasets, source));
  const divided = new Set(
    Object.entries(members).flatMap(([source, names]) =>
      names.length === 1 && names[0] === source ? [] : names.map(String),
    ),
  );
  if (divided.size === 0) return data;
  const sources: [SourceId, SourceKind][] = [];
  const shares: [SourceId, string][] = [];
  for (const [source, kind] of Object.entries(data.sources)) {
    const names = members[source] ?? [source];
    const own = Object.fromEntries(names.map((name) => [name, settingsOf(data, name).weight ?? 1]));
    const whole = wholeWeights(own) ?? own;
    const sum = Object.values(whole).reduce((total, weight) => total + weight, 0);
    for (const name of names) {
      sources.push([name, kind]);
      shares.push([name, `${(data.weights[source] ?? 0) * (whole[name] ?? 0)}/${sum}`]);
    }
  }
  const weights = wholeWeights(Object.fromEntries(shares));
  if (weights === undefined)
    throw new WeftError(
      'invalid_argument',
      'the weights of data.datasets have no ratio of whole numbers up to 1000000',
      {
        hint: 'write weights with fewer digits',
      },
    );
  const datasets = mapSources(
    Object.fromEntries(sources.filter(([name]) => name in data.datasets || divided.has(name))),
    (_, name): DatasetSettings => ({ ...settingsOf(data, name), ...(divided.has(name) ? { weight: null } : {}) }),
  );
  return { ...data, sources: Object.fromEntries(sources), weights, datasets };
}

const settingsOf = ({ datasets }: Pick<Mixture, 'datasets'>, name: string): DatasetSettings => ({
  ...DEFAULT_DATASET,
  ...datasets[name],
});

/** The datasets of a source, in their order; itself where none names it. */
function membersOf(datasets: PerSource<DatasetSettings>, source: SourceId): readonly SourceId[] {
  const named = Object.entries(datasets)
    .filter(([name, settings]) => settings.weight !== null && (settings.source ?? name) === source)
    .map(([name]) => name);
  return named.length === 0 ? [source] : named;
}
