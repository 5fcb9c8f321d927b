import { describe, expect, it } from 'vitest';
import { parseConfigText } from './config-file.js';
import type { ConfigLayer } from './layers.js';
import { resolveLayers } from './resolve.js';
import { settingLayers } from './settings.js';
import { smallestRun } from './testing/smallest-run.js';

const recipe: ConfigLayer = {
  value: { ...smallestRun, data: { directory: 'data', weights: '5:5:1' } },
  where: () => 'recipe small',
};

/** What a run file with these lines under `data` and some settings make of the mixture. */
function mixture(lines: string, settings: readonly string[] = []) {
  const text = `data:\n${lines.replaceAll(/^/gm, '  ')}\n`;
  const { sources, weights } = resolveLayers([
    recipe,
    parseConfigText(text, 'run.yaml'),
    ...settingLayers(settings),
  ]).data;
  return { sources, weights };
}

const own = 'sources: {art: captioned, photos: captioned, essays: text}';

describe('sources of a run', () => {
  it('have the weights of their names, in the order they were named', () => {
    const { sources, weights } = mixture(`${own}\nweights: {essays: 1, art: 3, photos: 4}`);
    expect(Object.entries(sources)).toEqual([
      ['art', 'captioned'],
      ['photos', 'captioned'],
      ['essays', 'text'],
    ]);
    expect(Object.entries(weights)).toEqual([
      ['art', 3],
      ['photos', 4],
      ['essays', 1],
    ]);
  });

  it('take a ratio in their order', () => {
    expect(mixture(`${own}\nweights: 3:4:1`).weights).toEqual({ art: 3, photos: 4, essays: 1 });
    expect(mixture('sources: {a: text, b: text, c: text, d: text}\nweights: 4:3:2:1').weights).toEqual({
      a: 4,
      b: 3,
      c: 2,
      d: 1,
    });
    expect(mixture(own, ['data.weights=1:0:2']).weights).toEqual({ art: 1, photos: 0, essays: 2 });
  });

  it('begin the mixture anew, and one weight of it can be changed by a later layer', () => {
    expect(mixture(`${own}\nweights: 3:4:1`, ['data.weights.art=9']).weights).toEqual({ art: 9, photos: 4, essays: 1 });
    const settings = ['data.weights=2:1', 'data.sources.web=text', 'data.sources.memes=captioned'];
    expect(mixture(`${own}\nweights: 3:4:1`, settings)).toEqual({
      sources: { web: 'text', memes: 'captioned' },
      weights: { web: 2, memes: 1 },
    });
  });

  it.each([
    ['0.45:0.45:0.1', [9, 9, 2]],
    ['0.1:0.2:0.3', [1, 2, 3]],
    ['1/3:2/3:0', [1, 2, 0]],
    ['4.5:1:0.25', [18, 4, 1]],
    ['2:4:6', [2, 4, 6]],
    ['0.5:1/3:1/6', [3, 2, 1]],
  ])('take fractions exactly, as the smallest whole numbers: %s', (ratio, [art, photos, essays]) => {
    expect(mixture(own, [`data.weights=${ratio}`]).weights).toEqual({ art, photos, essays });
    const [first, second, third] = ratio.split(':');
    expect(mixture(`${own}\nweights: {art: ${first}, photos: ${second}, essays: ${third}}`).weights).toEqual({
      ...{ art, photos, essays },
    });
  });

  it('divide their weight among several datasets, exactly, and once', () => {
    const datasets =
      'datasets: {big: {source: art, weight: 2}, small: {source: art, weight: 0.5}, essays: {textField: raw}}';
    const resolved = resolveLayers([
      recipe,
      parseConfigText(`data:\n  ${own}\n  weights: 4:0:1\n  ${datasets}\n`, 'run.yaml'),
    ]);
    const { data } = resolved;
    expect(Object.entries(data.sources)).toEqual([
      ['big', 'captioned'],
      ['small', 'captioned'],
      ['photos', 'captioned'],
      ['essays', 'text'],
    ]);
    expect(data.weights).toEqual({ big: 16, small: 4, photos: 0, essays: 5 });
    expect(data.datasets.big).toMatchObject({ source: 'art', weight: null });
    expect(data.datasets.essays).toMatchObject({ source: null, weight: 1, textField: 'raw' });
    expect(resolveLayers([{ value: JSON.parse(JSON.stringify(resolved)) }]).data).toEqual(data);
  });

  it('may have a dataset of their own name beside others', () => {
    const datasets = 'datasets: {art: {weight: 1}, more: {source: art, weight: 3}}';
    const resolved = resolveLayers([
      recipe,
      parseConfigText(`data:\n  ${own}\n  weights: 4:1:1\n  ${datasets}\n`, 'run.yaml'),
    ]);
    expect(resolved.data.weights).toEqual({ art: 1, more: 3, photos: 1, essays: 1 });
    expect(resolveLayers([{ value: JSON.parse(JSON.stringify(resolved)) }]).data).toEqual(resolved.data);
  });

  it('may be called as what every object has', () => {
    expect(mixture('sources: {constructor: text, toString: text}\nweights: 2:1').weights).toEqual(
      Object.fromEntries([
        ['constructor', 2],
        ['toString', 1],
      ]),
    );
  });

  it.each([
    [
      'sources: {art: pictures}\nweights: {art: 1}',
      'data.sources.art is "pictures", but must be one of captioned, interleaved, text',
    ],
    ['sources: web', 'data.sources is "web", but must be a group of names and kinds, such as {web: text}'],
    ['sources: {}', 'data.sources is {}, but must name at least one source'],
    [
      'sources: {index: text}\nweights: {index: 1}',
      'data.sources.index needs another name: index is the folder of the packed index',
    ],
    [
      'sources: {2024: text}\nweights: {2024: 1}',
      '"data.sources.2024" is no source: its name must begin with a letter and hold at most 64 letters, digits, - and _',
    ],
    ['sources: {a/b: text}\nweights: {a/b: 1}', '"data.sources.a/b" is no source: its name must begin with a letter'],
    ['sources: {a.b: text}\nweights: {a.b: 1}', '"data.sources.a.b" is no source: its name must begin with a letter'],
    [
      'sources: {__proto__: text}\nweights: {}',
      '"data.sources.__proto__" is no source: its name must begin with a letter',
    ],
    [own, 'data.weights is missing: it must give every source a weight (art, photos, essays), such as 1:1:1'],
    [
      `${own}\nweights: {art: 1, photos: 1}`,
      'data.weights.essays is missing: it must be a whole number from 0 to 1000000',
    ],
    [
      `${own}\nweights: {art: 1, photo: 1, essays: 1}`,
      'unknown field "data.weights.photo", did you mean data.weights.photos?',
    ],
    [
      `${own}\nweights: {art: 1, photos: 1, essays: 1, code: 1}`,
      'unknown field "data.weights.code", data.sources has art, photos, essays',
    ],
    [
      `${own}\nweights: "3:1"`,
      'data.weights is "3:1", but must be a ratio of one number per source (art, photos, essays), such as 1:1:1',
    ],
    [
      `${own}\nweights: -1:1:1`,
      'data.weights is "-1:1:1", but a ratio has numbers or fractions from 0 to 1000000 (art, photos, essays), such as 1:1:1',
    ],
    [
      `${own}\nweights: many`,
      'data.weights is "many", but must be a group of weights, one for each source, or a ratio such as 4:4:1',
    ],
    [`${own}\nweights: 0:0:0`, 'data.weights are all 0, but at least one source must have a weight'],
    [
      `${own}\nweights: {art: -1, photos: 1, essays: 1}`,
      'data.weights.art is -1, but must be a whole number from 0 to 1000000',
    ],
    [
      `${own}\nweights: 1:1:1\ndatasets: {esays: {textField: raw}}`,
      'data.datasets.esays belongs to no source: there is no source esays, did you mean essays?',
    ],
    [
      `${own}\nweights: 1:1:1\ndatasets: {art: {source: photos}}`,
      'data.datasets.art names the source photos, but there is a source of its own name',
    ],
    [
      `${own}\nweights: 1:1:1\ndatasets: {a/b: {source: photos}}`,
      '"data.datasets.a/b" is no dataset: its name must begin with a letter',
    ],
    [
      `${own}\nweights: 1:1:1\ndatasets: {essays: {textfield: raw}}`,
      'unknown field "data.datasets.essays.textfield", did you mean data.datasets.essays.textField?',
    ],
    [
      `${own}\nweights: 1:1:1\ndatasets: {essays: {badSamples: ignore}}`,
      'data.datasets.essays.badSamples is "ignore", but must be one of refuse, skip',
    ],
    ['weights: {txt: 1}', 'unknown field "data.weights.txt", did you mean data.weights.text?'],
  ])('are refused with one sentence: %s', (lines, sentence) => {
    expect(() => mixture(lines)).toThrow(sentence);
    expect(() => mixture(lines)).toThrow(/^run\.yaml:\d+: /);
  });

  it.each([
    ['data.weights.art=2', 'unknown field "data.weights.art", data.sources has captioned, interleaved, text'],
    ['data.weights.art.top=2', 'unknown field "data.weights.art.top", data.weights.art is a single value'],
    ['data.sources=text', 'data.sources is a group, set one of its fields: captioned, interleaved, text'],
    ['data.sources.web=text', 'data.weights is missing: it must give every source a weight (web), such as {web: 1}'],
    ['data.sources.web=books', 'data.sources.web is "books", but must be one of captioned, interleaved, text'],
  ])('name the option where a setting is refused: %s', (setting, sentence) => {
    expect(() => mixture('prefetchSteps: 1', [setting])).toThrow(`--set: ${sentence}`);
  });
});
