import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseConfigText } from './config-file.js';
import { resolveLayers, resolveRunConfig } from './resolve.js';
import { settingLayers } from './settings.js';
import { smallestRun } from './testing/smallest-run.js';

const launch = (moe: object | null, changes: object = {}) =>
  resolveRunConfig({
    ...smallestRun,
    model: { ...smallestRun.model, decoder: { ...smallestRun.model.decoder, moe } },
    ...changes,
  });
const moe = { experts: 4, everyLayers: 2 };

describe('expert workers', () => {
  it('hold between one expert and all of them', () => {
    expect(launch(moe).expertWorkers).toBe(0);
    expect(launch(moe, { expertWorkers: 4 })).toMatchObject({ expertWorkers: 4, microbatchesInFlight: 2 });
    expect(() => launch(moe, { expertWorkers: 5 })).toThrow(
      'expertWorkers is 5, but must be at most model.decoder.moe.experts (4): every expert worker holds at least one',
    );
  });

  it('are refused where there are no experts, and where nothing can wait for them', () => {
    expect(() => launch(moe, { expertWorkers: 1, expertCopies: true })).toThrow(
      'expertCopies is true, but expertWorkers is 1: a copy needs a second expert worker',
    );
    expect(() => launch(null, { expertWorkers: 1 })).toThrow('expertWorkers is 1, but model.decoder.moe is null');
    expect(() => launch(moe, { expertWorkers: 1, engine: { backend: 'javascript' } })).toThrow(
      'expertWorkers is above 0, but engine.backend javascript cannot wait for experts in mid-layer',
    );
  });
});

describe('the mesh', () => {
  const onMesh = (mesh: unknown, changes: object = {}) => launch(null, { engine: { mesh }, ...changes });

  it('is one device unless it is named, and takes `auto`', () => {
    expect(onMesh(undefined).engine.mesh).toEqual({ fsdp: 1, tensor: 1, expert: 1 });
    expect(onMesh({ fsdp: 4 }).engine.mesh).toEqual({ fsdp: 4, tensor: 1, expert: 1 });
    expect(onMesh('auto').engine.mesh).toBe('auto');
    expect(() => onMesh({ fsdp: 0 })).toThrow('engine.mesh.fsdp is 0, but must be a whole number from 1 to 65536');
    expect(() => onMesh({ data: 2 })).toThrow('unknown field "engine.mesh.data"');
    expect(() => onMesh('all')).toThrow(
      'engine.mesh is "all", but must be auto, or sizes of at least 1 for fsdp, tensor and expert',
    );
  });

  it('must divide what it cuts', () => {
    expect(() => onMesh({ tensor: 3 })).toThrow('engine.mesh.tensor is 3, but must divide model.decoder.heads (4)');
    expect(() => onMesh({ fsdp: 3 })).toThrow(
      'microbatchSize is 8, but must be a multiple of 3, the devices that engine.mesh cuts the batch over (fsdp × expert)',
    );
    const expert = { engine: { mesh: { expert: 8 } } };
    expect(() => launch(moe, expert)).toThrow('engine.mesh.expert is 8, but must divide model.decoder.moe.experts (4)');
    expect(() => launch(null, expert)).toThrow(
      'engine.mesh.expert is 8, but model.decoder.moe is null: set it to 1, there are no experts to cut',
    );
  });

  it('cuts no experts that are elsewhere, and is refused with an engine of one device', () => {
    expect(launch(moe, { expertWorkers: 1, engine: { mesh: { fsdp: 2 } } }).expertWorkers).toBe(1);
    expect(() => launch(moe, { expertWorkers: 1, engine: { mesh: { expert: 2 } } })).toThrow(
      'engine.mesh.expert is 2, but with expertWorkers 1 the experts are in other processes: set one of them to its default',
    );
    expect(() => onMesh({ fsdp: 2 }, { engine: { backend: 'tensorflow', mesh: { fsdp: 2 } } })).toThrow(
      'engine.mesh has 2 devices, but engine.backend tensorflow computes on one: leave engine.mesh out, or set engine.backend to auto',
    );
  });
});

describe('the tasks of an evaluation', () => {
  const evaluated = (evaluation: object, changes: object = {}) => launch(null, { evaluation, ...changes }).evaluation;
  const coco = { kind: 'caption', examples: 'captions.json', images: 'val2014' };

  it('are asked with the prompts of the paper, unless others are given', () => {
    const vqa = {
      kind: 'question',
      examples: 'vqa.json',
      images: 'val.tar',
      prompt: '{IMAGE}{QUESTION}?',
      maxTokens: 5,
    };
    const { tasks, shots } = evaluated({
      tasks: { coco, vqa, lambada: { kind: 'lastWord', examples: 'lambada.jsonl' } },
    });
    expect(shots).toEqual([0, 4, 8]);
    expect(tasks).toEqual({
      coco: {
        ...coco,
        ...{ questions: null, shotExamples: null, shotQuestions: null, shotImages: null },
        ...{ prompt: '{IMAGE} A photo of', separator: '\n', maxTokens: null },
      },
      vqa: {
        ...vqa,
        ...{ questions: null, shotExamples: null, shotQuestions: null, shotImages: null },
        separator: '\n',
      },
      lambada: { kind: 'lastWord', examples: 'lambada.jsonl', shotExamples: null, separator: '\n\n' },
    });
  });

  it('of the demo are one word, and shots a short list, on the command line too', () => {
    const settings = ['evaluation.tasks=demo', 'evaluation.shots=0,2', 'evaluation.sequencesPerSource=9'];
    const { evaluation } = resolveLayers([{ value: smallestRun }, ...settingLayers(settings)]);
    expect(Object.entries(evaluation.tasks).map(([name, { kind, examples }]) => [name, kind, examples])).toEqual([
      ['demo-captions', 'caption', 'heldOut'],
      ['demo-questions', 'question', 'heldOut'],
      ['demo-choices', 'multipleChoice', 'heldOut'],
      ['demo-words', 'lastWord', 'heldOut'],
    ]);
    expect(evaluation.shots).toEqual([0, 2]);
    expect(resolveLayers([{ value: smallestRun }, ...settingLayers(['evaluation.shots=8'])]).evaluation.shots).toEqual([
      8,
    ]);
  });

  it.each([
    [
      { tasks: { coco: { ...coco, images: null } } },
      'evaluation.tasks.coco.images is null, but captions.json needs a folder or tar archive of images',
    ],
    [
      { tasks: { coco: { ...coco, kind: 'captions' } } },
      'evaluation.tasks.coco.kind is "captions", but must be one of caption, question, multipleChoice, lastWord',
    ],
    [
      { tasks: { coco: { ...coco, image: 'val2014' } } },
      'unknown field "evaluation.tasks.coco.image", did you mean evaluation.tasks.coco.images?',
    ],
    [
      { tasks: { coco: { ...coco, prompt: 'A photo of' } } },
      'evaluation.tasks.coco.prompt is "A photo of", but must contain {IMAGE}',
    ],
    [
      { tasks: { 'a b': coco } },
      '"evaluation.tasks.a b" is no task: its name must hold at most 64 letters, digits, - and _',
    ],
    [{ tasks: { average: coco } }, '"evaluation.tasks.average" is no task'],
    [
      { tasks: 'demo' },
      'evaluation.tasks takes the examples of demo-captions, demo-questions, demo-choices, demo-words from held-out sequences, but evaluation.sequencesPerSource is 0: nothing is held out',
    ],
    [
      { tasks: { words: { kind: 'lastWord', examples: 'heldOut' } } },
      'evaluation.tasks takes the examples of words from held-out sequences',
    ],
    [{ tasks: 'all' }, 'evaluation.tasks is "all", but must be a group of tasks by name, or demo'],
    [{ shots: '0;8' }, 'evaluation.shots is "0;8", but must be whole numbers such as 0,4,8'],
    [
      { tasksEverySteps: 5 },
      'evaluation.tasksEverySteps is 5, but evaluation.tasks is empty: there is nothing to score',
    ],
  ])('%j are refused', (evaluation, sentence) => {
    expect(() => evaluated(evaluation)).toThrow(sentence);
  });

  it('are accepted as the page about evaluation writes them', () => {
    const page = readFileSync(new URL('../../../docs/design/evaluation.md', import.meta.url), 'utf8');
    const [, yaml = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
    const { tasks } = evaluated({ tasks: parseConfigText(yaml, 'the page').value });
    expect(Object.keys(tasks)).toEqual(['coco', 'vqav2', 'arc', 'lambada']);
  });

  it('are refused where the experts are elsewhere', () => {
    expect(() => launch(moe, { evaluation: { tasks: { coco } }, expertWorkers: 2 })).toThrow(
      'evaluation.tasks has 1 tasks, but expertWorkers is 2: a rank without its experts cannot generate',
    );
  });
});

describe('the address of an S3 server', () => {
  const withEndpoint = (endpoint: string) => () =>
    resolveRunConfig({ ...smallestRun, data: { ...smallestRun.data, remote: { endpoint } } });

  it.each(['http://key:SECRET@minio:9000', 'http://minio:9000?token=SECRET', 'http://minio:9000/#SECRET'])(
    'is refused with what may be a secret, which is not repeated: %s',
    (endpoint) => {
      expect(withEndpoint(endpoint)).toThrow(
        'data.remote.endpoint may hold a secret, but must be the address of an S3 server without @, ? and #',
      );
      expect(withEndpoint(endpoint)).not.toThrow('SECRET');
    },
  );

  it('is taken as it is otherwise', () => {
    expect(withEndpoint('http://minio:9000/s3')().data.remote.endpoint).toBe('http://minio:9000/s3');
  });
});

describe('pictures and conversations', () => {
  const withData = (data: object, changes: object = {}) =>
    resolveRunConfig({ ...smallestRun, data: { ...smallestRun.data, ...data }, ...changes });

  it('are not cut and have the default template unless somebody says so', () => {
    const { images, chatTemplate } = withData({}).data;
    expect(images.subImages).toBeNull();
    expect(chatTemplate).toEqual({
      system: '{TEXT}\n',
      systemMessage: '',
      user: 'USER: {TEXT}\n',
      assistant: 'ASSISTANT: {TEXT}',
    });
    const cut = withData({ images: { subImages: { rows: 2, columns: 2 } }, imagesPerSequence: 10 });
    expect(cut.data.images.subImages).toEqual({ rows: 2, columns: 2 });
  });

  it('are refused where the views of a picture do not fit, or a template has no place for the message', () => {
    const cut = (rows: number, more: object = {}) => withData({ images: { subImages: { rows, columns: 4 } }, ...more });
    expect(() => cut(4)).toThrow(
      'data.images.subImages cuts a picture into 17 images, but data.imagesPerSequence is 16',
    );
    expect(() => cut(8, { imagesPerSequence: 40 })).toThrow(
      'data.images.subImages makes 33 images of a picture, 132 positions, but these must be below model.sequenceLength (128)',
    );
    expect(() => cut(99)).toThrow('data.images.subImages.rows is 99, but must be a whole number from 1 to 16');
    expect(() => withData({ chatTemplate: { user: 'USER:' } })).toThrow(
      'data.chatTemplate.user is "USER:", but must be a text with one {TEXT}',
    );
    expect(() => withData({ sources: { chats: 'chat' }, weights: { chats: 1 } })).toThrow(
      'data.sources.chats is "chat", but must be one of captioned, interleaved, text, conversations',
    );
  });

  it('AdaFactor has the constants of its paper, and an unknown optimizer is refused', () => {
    const optimizer = (fields: object) =>
      withData({}, { optimizer: { ...smallestRun.optimizer, ...fields } }).optimizer;
    expect(optimizer({})).toMatchObject({ kind: 'adamw' });
    expect(optimizer({ kind: 'adafactor' })).toMatchObject({
      kind: 'adafactor',
      adafactor: { decayExponent: 0.8, clipThreshold: 1, epsilon: 1e-30, scaleByParameter: false },
    });
    expect(() => optimizer({ kind: 'adam' })).toThrow('optimizer.kind is "adam", but must be one of adamw, adafactor');
    expect(() => optimizer({ adafactor: { clipThreshold: 0 } })).toThrow(
      'optimizer.adafactor.clipThreshold is 0, but must be a number above 0',
    );
  });
});
