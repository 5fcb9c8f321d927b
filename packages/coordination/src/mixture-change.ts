import type { DataConfig, MixtureChange, RunConfig } from '@weft/config';

type Data = RunConfig['data'];

/**
 * The data settings of a run with one more change of its mixture. It takes the place of one at the same batch; later ones
 * keep their weights, and read at least its version of the index.
 */
export function withMixtureChange(data: Data, change: MixtureChange): Data {
  const earlier = data.mixtureChanges.filter(({ fromBatch }) => fromBatch < change.fromBatch);
  const later = data.mixtureChanges.filter(({ fromBatch }) => fromBatch > change.fromBatch);
  const newer = later.map((each) => ({ ...each, indexVersion: newerOf(each.indexVersion, change.indexVersion) }));
  return { ...data, mixtureChanges: [...earlier, change, ...newer] };
}

const newerOf = (a: number | null, b: number | null) => (a === null || b === null ? (a ?? b) : Math.max(a, b));

/** The weights and the version of the index that hold for a batch. */
export function mixtureAt(
  { weights, indexVersion, mixtureChanges }: Pick<DataConfig, 'weights' | 'indexVersion' | 'mixtureChanges'>,
  batch: number,
): Pick<MixtureChange, 'weights' | 'indexVersion'> {
  const change = mixtureChanges.findLast(({ fromBatch }) => fromBatch <= batch);
  return { weights: change?.weights ?? weights, indexVersion: change?.indexVersion ?? indexVersion };
}

/** "captioned 5, text 1; version 2 of the index". */
export function describeChange({ weights, indexVersion }: Omit<MixtureChange, 'fromBatch'>): string {
  const shares = Object.entries(weights).map(([source, weight]) => `${source} ${weight}`);
  return `${shares.join(', ')}${indexVersion === null ? '' : `; version ${indexVersion} of the index`}`;
}
