import { describe, expect, it } from 'vitest';
import { applyResumeSettings, applySettings, settingLayers } from './settings.js';

describe('applySettings', () => {
  it('writes values over a configuration, the last one wins, and leaves the original alone', () => {
    const input = { steps: 60, optimizer: { learningRate: 1e-3, clipNorm: 1 } };
    const settings = ['steps=20', 'optimizer.learningRate=3e-4', 'data.weights=5:5:1', 'steps=30'];
    expect(applySettings(input, settings)).toEqual({
      steps: 30,
      optimizer: { learningRate: 3e-4, clipNorm: 1 },
      data: { weights: { captioned: 5, interleaved: 5, text: 1 } },
    });
    expect(input).toEqual({ steps: 60, optimizer: { learningRate: 1e-3, clipNorm: 1 } });
  });

  it.each([
    ['recipe=mine', 'mine'],
    ['recipe="60"', '60'],
    ['recipe=60', '60'],
    ['recipe=true', 'true'],
    ['recipe=6e-5', '6e-5'],
    ['recipe= spaced ', 'spaced'],
    ['recipe=a=b', 'a=b'],
    ["recipe='it''s'", "it's"],
  ])('reads %s as YAML does, and as a text where nothing else can be', (setting, value) => {
    expect(applySettings({}, [setting])).toEqual({ recipe: value });
  });

  it.each([
    '/data/a #b',
    '/data/a # b',
    '#b',
    'a: b',
    'C:/data',
    'a=b=c',
    'my folder/of data',
    '[old] data',
    '{x}/y',
    '"half',
    "it's here",
    '*star',
    '&x a',
    '3 #b',
    '- a',
    '!tag x',
    '@x',
    '%x',
    '| a',
    's3://bucket/data#1',
    '2024',
    '1e3',
    'true',
  ])('takes the path %s as it stands', (path) => {
    expect(applySettings({}, [`data.directory=${path}`])).toEqual({ data: { directory: path } });
    expect(applySettings({}, [`data.tokenizer=${path}`])).toEqual({ data: { tokenizer: path } });
  });

  it.each([
    ['steps', '"steps" must look like field=value, for instance optimizer.learningRate=3e-4'],
    ['=3', '"=3" must look like field=value'],
    ['model..decoder=3', 'must look like field=value'],
    ['steps=', '"steps=" must give a single value after the equals sign'],
    ['steps=[1, 2]', 'must give a single value'],
    ['steps={a: 1}', 'must give a single value'],
    ['steps="', 'must give a single value'],
    ['optimizer.learnigRate=1', 'unknown field "optimizer.learnigRate", did you mean optimizer.learningRate?'],
    ['optimiser.learningRate=1', 'unknown field "optimiser", did you mean optimizer?'],
    ['learningRate=1', 'unknown field "learningRate", did you mean optimizer.learningRate?'],
    ['steps.count=1', 'unknown field "steps.count", steps is a single value'],
    ['__proto__.steps=1', 'unknown field "__proto__"'],
    ['constructor=1', 'unknown field "constructor"'],
    ['optimizer=1', 'optimizer is a group, set one of its fields: learningRate, weightDecay, beta1'],
    [
      'optimizer.learningRateFactors=4',
      'optimizer.learningRateFactors is a group, set a field of it, such as optimizer.learningRateFactors.<name>',
    ],
    ['data.weights=4', 'data.weights is a group, set one of its fields: captioned, interleaved, text'],
  ])('refuses %s', (setting, sentence) => {
    expect(() => applySettings({}, [setting])).toThrow(
      expect.objectContaining({ code: 'invalid_argument', message: expect.stringContaining(`--set: `) }),
    );
    expect(() => applySettings({}, [setting])).toThrow(sentence);
  });
});

it.each(['endpoint=http://minio:9000', 'region=eu-west-1', 'cacheDirectory=/mnt/nvme', 'cacheBytes=200000000'])(
  'a run that is resumed may have another data.remote.%s',
  (setting) => {
    const [field = '', value = ''] = setting.split('=');
    const { data } = applyResumeSettings({ data: { prefetchSteps: 2 } }, [`data.remote.${setting}`]) as {
      data: { remote: Record<string, unknown> };
    };
    expect(data.remote).toEqual({ [field]: field === 'cacheBytes' ? Number(value) : value });
  },
);

it('a run that is resumed keeps what its sequences are made of', () => {
  expect(() => applyResumeSettings({}, ['data.imagesPerSequence=4'])).toThrow('stays as it is');
});

it('a setting can come from another option than --set', () => {
  const [layer] = settingLayers(['steps=3'], '--steps');
  expect(layer?.value).toEqual({ steps: 3 });
  expect(layer?.where?.(['steps'])).toBe('--steps');
});

it('a field that takes a word or a group takes both as settings', () => {
  const mesh = (...settings: string[]) => applySettings({}, settings);
  expect(mesh('engine.mesh=auto')).toEqual({ engine: { mesh: 'auto' } });
  expect(mesh('initFrom=runs/a')).toEqual({ initFrom: 'runs/a' });
  expect(mesh('initFrom.vision=a', 'initFrom.decoder=b')).toEqual({ initFrom: { vision: 'a', decoder: 'b' } });
  expect(() => mesh('engine.mesh=all')).toThrow('engine.mesh is a group');
});
