import { didYouMean, mapSources, type PerSource, refuse, type SourceId } from '@weft/common';
import { type DataConfig, datasetSettings } from './data-config.js';
import { wholeWeights } from './layers.js';

/**
 * The weights of a run after a request such as `captioned=5 interleaved=0.5 text=1/3`, in whole numbers and exactly. A source
 * with several datasets is named as itself, and its datasets keep their shares of it; or its datasets are named, and share
 * what the source has as their weights say.
 *
 * @param data of a complete configuration, with the weights of now
 * @param asked whole numbers, decimals or fractions, as people write them. All sources are named or none, and of a source
 *        all datasets or none: what a weight means depends on the others
 * @throws WeftError `invalid_argument` naming what is missing, unknown, or no weight
 */
export function reweighted(
  data: Pick<DataConfig, 'weights' | 'datasets'>,
  asked: Readonly<Record<string, string>>,
): PerSource<number> {
  const groupOf = mapSources(data.weights, (_, name) => datasetSettings(data, name).source ?? name);
  const groups = [...new Set(Object.values(groupOf))];
  const membersOf = (group: string) => Object.keys(data.weights).filter((name) => groupOf[name] === group);
  const divided = groups.filter((group) => membersOf(group).join() !== group);
  const datasets = divided.flatMap(membersOf);
  refuseUnknown(asked, [...groups, ...datasets]);
  const now = mapSources(Object.fromEntries(groups.map((group) => [group, 0])), (_, group) =>
    membersOf(group).reduce((sum, name) => sum + (data.weights[name] ?? 0), 0),
  );
  const ofGroups = complete(now, asked, 'source');
  const shares: [SourceId, string | number][] = [];
  for (const group of groups) {
    const members = membersOf(group);
    const own = Object.fromEntries(members.map((name) => [name, data.weights[name] ?? 0]));
    // A source without a weight so far has no shares to keep.
    const kept = sumOf(own) === 0 ? mapSources(own, () => 1) : own;
    const within = divided.includes(group) ? complete(kept, asked, `dataset of ${group}`) : { [group]: 1 };
    const whole = sumOf(within) === 0 ? mapSources(within, () => 1) : within;
    for (const name of members) shares.push([name, `${(ofGroups[group] ?? 0) * (whole[name] ?? 0)}/${sumOf(whole)}`]);
  }
  const weights = wholeWeights(Object.fromEntries(shares));
  if (weights === undefined)
    refuse('invalid_argument', 'these weights have no ratio of whole numbers up to 1000000', 'write fewer digits');
  if (sumOf(weights) === 0)
    refuse('invalid_argument', 'these weights are all 0', 'give at least one source a positive weight');
  return weights;
}

/** The weights asked for some names, all of them or none; where none is, those of now. */
function complete(now: PerSource<number>, asked: Readonly<Record<string, string>>, what: string): PerSource<number> {
  const names = Object.keys(now);
  const missing = names.filter((name) => !Object.hasOwn(asked, name));
  if (missing.length === names.length) return now;
  if (missing.length > 0)
    refuse(
      'invalid_argument',
      `there is no weight for ${missing.join(', ')}: every ${what} needs one, because weights are shares of one another`,
      `give each of them one, such as ${names.map((name) => `${name}=${asked[name] ?? now[name] ?? 1}`).join(' ')}`,
    );
  const given = Object.fromEntries(names.map((name) => [name, numberOrText(asked[name] ?? '')]));
  const whole = Object.values(given).every((weight) => typeof weight === 'number') ? given : wholeWeights(given);
  if (whole !== undefined) return whole as PerSource<number>;
  const wrong = names.find((name) => wholeWeights({ [name]: asked[name], other: '1/2' }) === undefined) ?? names[0];
  return refuse(
    'invalid_argument',
    `the weight ${wrong}=${asked[wrong ?? '']} is no number or fraction from 0 to 1000000`,
    'write it as 5, 0.45 or 1/3',
  );
}

const numberOrText = (text: string): number | string =>
  /^\d{1,7}$/.test(text) && Number(text) <= 1_000_000 ? Number(text) : text;

function refuseUnknown(asked: Readonly<Record<string, string>>, known: readonly string[]): void {
  const unknown = Object.keys(asked).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const similar = didYouMean(unknown, known);
  refuse(
    'invalid_argument',
    `the run has no source ${unknown}`,
    similar === undefined ? `it has ${known.join(', ')}` : `did you mean ${similar}?`,
  );
}

const sumOf = (weights: PerSource<number>) => Object.values(weights).reduce((sum, weight) => sum + weight, 0);
