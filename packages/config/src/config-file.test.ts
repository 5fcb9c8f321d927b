import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileLayer, parseConfigText } from './config-file.js';
import { resolveLayers } from './resolve.js';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-config-'));
});
afterAll(() => rm(directory, { recursive: true }));

const yaml = `# my run
recipe: debugTiny
steps: 100

model:
  decoder: { width: 130,
    heads: 4 }
optimizer:
  learnigRate: 1e-3
`;

describe('a configuration file', () => {
  it('is YAML', async () => {
    const path = join(directory, 'run.yaml');
    await writeFile(path, yaml);
    expect((await fileLayer(path)).value).toEqual({
      recipe: 'debugTiny',
      steps: 100,
      model: { decoder: { width: 130, heads: 4 } },
      optimizer: { learnigRate: 1e-3 },
    });
  });

  it('or JSON, indented as one likes', async () => {
    const path = join(directory, 'run.json');
    await writeFile(path, '{\n\t"steps": 100,\n\t"model": {\n\t\t"decoder": {"width": 128}\n\t}\n}\n');
    expect((await fileLayer(path)).value).toEqual({ steps: 100, model: { decoder: { width: 128 } } });
  });

  it('that does not exist, or is a folder, is named', async () => {
    const missing = join(directory, 'missing.yaml');
    await expect(fileLayer(missing)).rejects.toMatchObject({
      code: 'not_found',
      message: `there is no configuration file ${missing}`,
    });
    await expect(fileLayer(directory)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${directory} is a folder, not a configuration file`,
    });
  });

  it('that is far too large is refused by its size, before it is read', async () => {
    const path = join(directory, 'large.yaml');
    await writeFile(path, 'steps: 60\n');
    await truncate(path, 3e9);
    await expect(fileLayer(path)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `${path} is larger than 1 MiB, which no configuration is`,
    });
  });

  it.each([
    ['steps: 60\nmodel: [1, 2\n', /^run\.yaml:3: not valid YAML: /],
    ['steps: 60\nsteps: 70\n', /^run\.yaml:2: not valid YAML: Map keys must be unique/],
    ['a: *nothing\n', /^run\.yaml:? ?.*not valid YAML: Unresolved alias/],
    ['', /^run\.yaml must hold fields such as "steps: 60", but holds nothing$/],
    ['- steps\n', /^run\.yaml must hold fields such as "steps: 60", but holds a list$/],
    ['steps 60\n', /^run\.yaml must hold fields such as "steps: 60", but holds a single string$/],
    ['steps: 60\n---\nsteps: 70\n', /^run\.yaml:2: a second document begins, but a file holds one only$/],
  ])('%j is refused with file and line', (text, sentence) => {
    expect(() => parseConfigText(text, 'run.yaml')).toThrow(sentence);
  });

  it('nested 100,000 deep is refused in words', () => {
    const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect(() => parseConfigText(deep, 'run.json')).toThrow('run.json is nested too deeply to be a configuration');
  });

  it('a wrong field is refused with its line, a missing one with the line of its group', () => {
    const layer = parseConfigText(yaml, 'run.yaml');
    expect(layer.where?.(['steps'])).toBe('run.yaml:3');
    expect(layer.where?.(['model', 'decoder', 'heads'])).toBe('run.yaml:7');
    expect(layer.where?.(['model', 'decoder', 'depth'])).toBe('run.yaml:6');
    expect(() => resolveLayers([layer])).toThrow(
      'run.yaml:9: unknown field "optimizer.learnigRate", did you mean optimizer.learningRate?',
    );
    expect(() => resolveLayers([layer])).toThrow('run.yaml:5: model.sequenceLength is missing');
  });
});
