import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RunRows } from '@weft/client';
import { exampleMoeLayer, exampleRun, exampleStep, type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { crc32c, maskedCrc32c } from './event-file.js';
import { EXPORT_FORMATS } from './formats.js';

let folder: TemporaryDirectory;
beforeAll(async () => {
  folder = await temporaryDirectory();
});
afterAll(() => folder[Symbol.asyncDispose]());

const LAST = exampleStep(3, {
  sourceLoss: { captioned: 5.5, text: null },
  heldOut: { loss: 5, sources: { captioned: 4.5, text: 5.5 }, seconds: 1 },
  taskScores: { scores: { coco: { '0': 70.5 } }, average: {}, textAverage: {}, seconds: 2 },
  moe: { layers: [exampleMoeLayer({ layer: 1 })], bytesSent: 0, bytesReceived: 0, waitingSeconds: 0 },
});

/** A run of three steps, of which the second was not finite. */
async function exported(format: keyof typeof EXPORT_FORMATS): Promise<string> {
  const directory = await mkdtemp(join(folder.path, 'run-'));
  const rows = [exampleStep(1), exampleStep(2, { loss: null, gradNorm: null }), LAST];
  await writeFile(join(directory, 'metrics.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const run = exampleRun({ directory });
  const path = join(directory, EXPORT_FORMATS[format].nameOf(run.runId));
  await EXPORT_FORMATS[format].write(path, {
    run,
    rows: await RunRows.open(run),
    config: { steps: 60, optimizer: { learningRate: 1e-3 } },
  });
  return path;
}

describe('curves for other tools', () => {
  it('as CSV: a row a step, the loss first, empty where there is no value', async () => {
    const [head = '', ...rows] = (await readFile(await exported('csv'), 'utf8')).trimEnd().split('\n');
    const names = head.split(',');
    expect(names.slice(0, 8)).toEqual([
      ...['step', 'time', 'loss', 'loss.captioned', 'heldOut', 'heldOut.captioned', 'heldOut.text', 'score.coco.0'],
    ]);
    expect(names.at(-1)).toBe('seconds.data');
    const table = rows.map((row) => Object.fromEntries(row.split(',').map((value, at) => [names[at], value])));
    expect(table.map(({ step, loss }) => [step, loss])).toEqual([
      ['1', `${exampleStep(1).loss}`],
      ['2', ''],
      ['3', `${exampleStep(3).loss}`],
    ]);
    expect(table[2]).toMatchObject({ time: LAST.time, 'score.coco.0': '70.5', 'moe.1.droppedShare': '0.125' });
  });

  it('as files of W&B: history, summary of the last values, configuration', async () => {
    const path = await exported('wandb');
    expect((await readdir(path)).sort()).toEqual([
      ...['config.yaml', 'wandb-history.jsonl', 'wandb-metadata.json', 'wandb-summary.json'],
    ]);
    const text = (name: string) => readFile(join(path, name), 'utf8');
    const history = (await text('wandb-history.jsonl'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(history.map(({ _step, loss }) => [_step, loss])).toEqual([
      [1, exampleStep(1).loss],
      [2, undefined],
      [3, exampleStep(3).loss],
    ]);
    expect(history[2]).toMatchObject({
      'loss/captioned': 5.5,
      'heldOut/text': 5.5,
      'score/coco.0': 70.5,
      _timestamp: Date.parse(LAST.time) / 1000,
    });
    expect(JSON.parse(await text('wandb-summary.json'))).toMatchObject({ _step: 3, 'score/coco.0': 70.5 });
    expect(JSON.parse(await text('config.yaml')).optimizer).toEqual({ desc: null, value: { learningRate: 1e-3 } });
  });

  it('as an event file of TensorBoard: records with the checksums of their length and data', async () => {
    const path = await exported('tensorboard');
    const [name = ''] = await readdir(path);
    expect(name).toMatch(/tfevents/);
    const file = await readFile(join(path, name));
    const records: Buffer[] = [];
    for (let at = 0; at < file.length; ) {
      const length = Number(file.readBigUInt64LE(at));
      const data = file.subarray(at + 12, at + 12 + length);
      expect(file.readUInt32LE(at + 8)).toBe(maskedCrc32c(file.subarray(at, at + 8)));
      expect(file.readUInt32LE(at + 12 + length)).toBe(maskedCrc32c(data));
      records.push(data);
      at += length + 16;
    }
    expect(records).toHaveLength(5);
    expect(records[0]?.includes('brain.Event:2')).toBe(true);
    expect(records[4]?.includes('score/coco.0')).toBe(true);
  });

  it('are the same bytes however often they are written', async () => {
    const hash = async () =>
      createHash('sha256')
        .update(await readFile(await exported('csv')))
        .digest('hex');
    expect(await hash()).toBe(await hash());
  });
});

it('CRC-32C is that of RFC 3720', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
  // As TensorFlow masks it, so that the test fails without Python too.
  expect(maskedCrc32c(Buffer.from('123456789'))).toBe(0xc78ab0e5);
});

describe('weft export', () => {
  const weft = async (...argv: string[]) => {
    const terminal = recordedTerminal();
    return { exitCode: await main(argv, terminal), ...terminal.written };
  };

  it('refuses a format that there is not, and a run that there is not', async () => {
    expect((await weft('export', 'last', '--format', 'xls')).err).toMatch(/csv or tensorboard or wandb, not "xls"/);
    expect((await weft('export', 'last', '--format', 'csv', '--home', folder.path)).err).toMatch(/there is no run/);
  });
});
