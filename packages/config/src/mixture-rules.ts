import { DEFAULT_SOURCES, didYouMean, isJsonObject, type JsonObject } from '@weft/common';
import { isRatio } from './layers.js';
import type { Problem } from './problems.js';

/** JavaScript moves keys that look like integers to the front, so that a name has to begin with a letter. */
const SOURCE_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
/** The folder of the packed index lies among those of the sources. */
const INDEX_FOLDER = /^index$/i;

/**
 * What must hold for the names of `data.sources` and `data.weights`: every source has a name that can be a folder and a
 * weight, and every weight a source. Looks at what was written, before its shape is checked.
 */
export function mixtureProblems(input: unknown): Problem[] {
  if (!isJsonObject(input) || !isJsonObject(input.data)) return [];
  const { sources, weights, datasets } = input.data;
  const names = isJsonObject(sources) ? Object.keys(sources) : DEFAULT_SOURCES;
  const ofNames = [...names.flatMap((name) => nameProblems(name)), ...datasetProblems(datasets, names)];
  if (ofNames.length > 0) return ofNames;
  if (names.length === 0) return [problem('sources', '', 'data.sources is {}, but must name at least one source')];
  if (isJsonObject(weights)) return weightProblems(weights, names);
  const example = `(${names.join(', ')}), such as ${names.length === 1 ? `{${names[0]}: 1}` : names.map(() => 1).join(':')}`;
  if (weights === undefined && isJsonObject(sources))
    return [problem('sources', '', `data.weights is missing: it must give every source a weight ${example}`)];
  if (typeof weights === 'string' && isRatio(weights))
    return [
      problem('weights', '', `data.weights is "${weights}", but must be a ratio of one number per source ${example}`),
    ];
  if (typeof weights === 'string' && weights.includes(':'))
    return [
      problem(
        'weights',
        '',
        `data.weights is "${weights}", but a ratio has numbers or fractions from 0 to 1000000 ${example}`,
      ),
    ];
  return [];
}

function nameProblems(name: string, group: 'sources' | 'datasets' = 'sources'): Problem[] {
  const field = `data.${group}.${name}`;
  if (INDEX_FOLDER.test(name))
    return [problem(group, name, `${field} needs another name: ${name} is the folder of the packed index`)];
  if (SOURCE_NAME.test(name)) return [];
  const what = group === 'sources' ? 'source' : 'dataset';
  const sentence = `${JSON.stringify(field)} is no ${what}: its name must begin with a letter and hold at most 64 letters, digits, - and _`;
  return [problem(group, name, sentence)];
}

/** A weight without a source, a source without a weight; a name that was mistyped is both, and one sentence is enough. */
function weightProblems(weights: JsonObject, names: readonly string[]): Problem[] {
  const unknown = Object.keys(weights).filter((name) => !names.includes(name));
  const missing = names.filter((name) => !Object.hasOwn(weights, name));
  const meant = new Map(unknown.map((name) => [name, didYouMean(name, names)]));
  const mistyped = new Set(meant.values());
  return [
    ...unknown.map((name) => {
      const similar = meant.get(name);
      const hint =
        similar === undefined ? `data.sources has ${names.join(', ')}` : `did you mean data.weights.${similar}?`;
      return problem('weights', name, `unknown field "data.weights.${name}", ${hint}`);
    }),
    ...missing
      .filter((name) => !mistyped.has(name))
      .map((name) =>
        problem('weights', name, `data.weights.${name} is missing: it must be a whole number from 0 to 1000000`),
      ),
  ];
}

/** Every dataset belongs to a source: the one it names, or the one of its name. */
function datasetProblems(datasets: unknown, sources: readonly string[]): Problem[] {
  if (!isJsonObject(datasets)) return [];
  return Object.entries(datasets).flatMap(([name, settings]) => {
    const field = `data.datasets.${name}`;
    const source: unknown = isJsonObject(settings) ? (settings.source ?? name) : name;
    const hasOwnSource = sources.includes(name);
    if (typeof source !== 'string' || (hasOwnSource && isExpanded(settings))) return [];
    if (hasOwnSource && source !== name)
      return [problem('datasets', name, `${field} names the source ${source}, but there is a source of its own name`)];
    if (sources.includes(source)) return nameProblems(name, 'datasets');
    const similar = didYouMean(source, sources);
    const hint = similar === undefined ? `data.sources has ${sources.join(', ')}` : `did you mean ${similar}?`;
    return [problem('datasets', name, `${field} belongs to no source: there is no source ${source}, ${hint}`)];
  });
}

/** Whether it stands in a complete configuration. */
const isExpanded = (settings: unknown) => isJsonObject(settings) && settings.weight === null;

function problem(group: 'sources' | 'weights' | 'datasets', name: string, sentence: string): Problem {
  return { fields: [['data', group, ...(name === '' ? [] : [name])]], sentence };
}
