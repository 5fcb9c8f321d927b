#!/usr/bin/env node
import { access, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median, WeftError } from '@weft/common';
import { indexDataset } from '@weft/data';
import { CandidateProcesses, type Command } from '../candidate-processes.js';
import { describeMachine, machineSentence, onOwnCores } from '../machine.js';
import { peerScript, processScript } from '../programs.js';
import { formatTable } from '../render.js';
// `npm run bench:data`: how fast data are indexed and loaded, beside the bars, and beside Python's WebDataset and DataLoader.
import { runBench } from '../run-bench.js';
import { writeLines, writePictures, writeTokenizer } from './data-sets.js';
import type { LoaderBench, LoaderRound } from './loader-process.js';
import { benchFolders, dataSettings } from './settings.js';

const USAGE = `npm run bench:data -- [options]

  --rounds N        rounds of every measurement (default: 5)
  --images N        pictures of the JPEG shards (default: 2000)
  --image-size N    pixels of a side after resizing (default: 224)
  --cores N         cores of each loader (default: 2)
  --python PATH     a Python with torch, webdataset, pillow and tokenizers (default: WEFT_BENCH_PYTHON, else python3)
  --no-peer         without Python
  --home PATH       where weft data fetch demo has put the demo (default: WEFT_HOME, else .weft)
  --json            print JSON instead of the table
  --help

Exits with 1 when something is below its bar.`;

/** On 2 cores. The demo's is three times what it was before shards were read side by side. */
const BARS = { demoMiBPerSecond: 5.7, jpegMBPerSecond: 20, linesSeconds: 10, loaderRatio: 1.2 };
const LINE_SHARDS = 10_000;
const BATCH = 32;

interface Result {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly bar: string;
  readonly holds: boolean;
}

await runBench(main);

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      images: { type: 'string', default: '2000' },
      'image-size': { type: 'string', default: '224' },
      cores: { type: 'string', default: `${Math.min(2, availableParallelism())}` },
      python: { type: 'string', default: process.env.WEFT_BENCH_PYTHON ?? 'python3' },
      'no-peer': { type: 'boolean', default: false },
      home: { type: 'string', default: process.env.WEFT_HOME ?? '.weft' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const rounds = count('--rounds', values.rounds);
  const folder = await mkdtemp(join(tmpdir(), 'weft-bench-data-'));
  try {
    const { pictures, lines, tokenizer } = benchFolders(folder);
    console.error('writing shards');
    await writeTokenizer(tokenizer);
    const shards = await writePictures(join(pictures, 'captioned'), count('--images', values.images));
    await writeLines(join(lines, 'text'), LINE_SHARDS);
    const results = await indexSpeeds({ folder, home: values.home, rounds });
    const imageSize = count('--image-size', values['image-size']);
    const bench: LoaderBench = {
      ...{ directory: pictures, index: join(folder, 'index-of-pictures'), shards, tokenizer, imageSize },
      ...{ batch: BATCH, samples: count('--images', values.images), workers: count('--cores', values.cores) },
    };
    await indexDataset(dataSettings({ ...bench, kind: 'captioned' }));
    results.push(...(await loaderSpeeds(bench, rounds, values['no-peer'] ? undefined : values.python)));
    if (values.json) console.log(JSON.stringify({ machine: describeMachine(), results }, null, 2));
    else console.log(`${machineSentence(describeMachine())}\n\n${render(results)}`);
    return results.every(({ holds }) => holds) ? 0 : 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function count(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new WeftError('invalid_argument', `${option} is ${text}, not a whole number above 0`);
}

async function indexSpeeds(options: {
  readonly folder: string;
  readonly home: string;
  readonly rounds: number;
}): Promise<Result[]> {
  const { folder, home, rounds } = options;
  const { pictures, lines } = benchFolders(folder);
  const demo = join(home, 'data', 'demo');
  const hasDemo = await access(join(demo, 'captioned')).then(
    () => true,
    () => false,
  );
  if (!hasDemo) console.error(`the demo is left out: it is not in ${demo} (run weft data fetch demo)`);
  const measured = { demo: [], pictures: [], lines: [] } as Record<'demo' | 'pictures' | 'lines', number[]>;
  let bytes = { demo: 0, pictures: 0, lines: 0 };
  for (let round = 0; round < rounds; round++)
    for (const [name, directory, kind] of [
      ['demo', demo, undefined],
      ['pictures', pictures, 'captioned'],
      ['lines', lines, 'text'],
    ] as const) {
      if (name === 'demo' && !hasDemo) continue;
      console.error(`round ${round + 1} of ${rounds}: indexing ${name}`);
      const settings = dataSettings({
        directory,
        index: join(folder, `index-${name}`),
        ...(kind === undefined ? {} : { kind }),
      });
      const beganMs = performance.now();
      const { sources } = await indexDataset({ ...settings, force: true });
      measured[name].push((performance.now() - beganMs) / 1000);
      const all = Object.values(sources).flatMap((source) => source.shards);
      bytes = { ...bytes, [name]: all.reduce((sum, shard) => sum + shard.bytes, 0) };
    }
  const { demoMiBPerSecond, jpegMBPerSecond, linesSeconds } = BARS;
  const results: Result[] = [];
  if (hasDemo)
    results.push(atLeast('index the demo', bytes.demo / 2 ** 20 / median(measured.demo), 'MiB/s', demoMiBPerSecond));
  results.push(atLeast('index JPEG shards', bytes.pictures / 1e6 / median(measured.pictures), 'MB/s', jpegMBPerSecond));
  const seconds = median(measured.lines);
  results.push({
    ...{ name: `index ${LINE_SHARDS} shards of one line`, value: seconds, unit: 's' },
    ...{ bar: `< ${linesSeconds}`, holds: seconds < linesSeconds },
  });
  return results;
}

/** Both loaders go through the pictures, in turns, on the same cores. */
async function loaderSpeeds(bench: LoaderBench, rounds: number, python: string | undefined): Promise<Result[]> {
  const argument = JSON.stringify(bench);
  const calls = [
    { program: process.execPath, args: [processScript('data/loader-process.js'), argument] },
    ...(python === undefined ? [] : [{ program: python, args: [peerScript('webdataset_loader.py'), argument] }]),
  ];
  const candidates = calls.map((call) => new CandidateProcesses([command(onOwnCores(call, 0, bench.workers))]));
  const speeds: number[][] = candidates.map(() => []);
  try {
    // The first round warms what stays between rounds.
    for (let round = 0; round <= rounds; round++)
      for (const [i, candidate] of candidates.entries()) {
        console.error(`round ${round} of ${rounds}: ${i === 0 ? 'weft' : 'webdataset'} loads`);
        candidate.send({});
        const [answer] = await candidate.receive<LoaderRound>();
        if (answer === undefined || answer.images < bench.samples * 0.98)
          throw new Error(`a loader gave ${answer?.images} of ${bench.samples} pictures`);
        if (round > 0) speeds[i]?.push(answer.images / answer.seconds);
      }
  } finally {
    for (const candidate of candidates) candidate.kill();
  }
  const [weft = [], theirs] = speeds;
  const results = [{ name: 'load pictures', value: median(weft), unit: 'images/s', bar: '', holds: true }];
  if (theirs === undefined) return results;
  results.push({ name: 'load pictures, WebDataset', value: median(theirs), unit: 'images/s', bar: '', holds: true });
  const ratios = weft.map((speed, round) => speed / (theirs[round] ?? Number.NaN));
  return [...results, atLeast('weft beside WebDataset', median(ratios), '×', BARS.loaderRatio)];
}

function command(call: Pick<Command, 'program' | 'args'>): Command {
  return { ...call, environment: {} };
}

function atLeast(name: string, value: number, unit: string, bar: number): Result {
  return { name, value, unit, bar: `≥ ${bar}`, holds: value >= bar };
}

function render(results: readonly Result[]): string {
  return formatTable(
    ['what', 'measured', 'unit', 'bar', ''].map((title, i) => ({
      title,
      align: i === 1 || i === 3 ? 'right' : 'left',
    })),
    results.map(({ name, value, unit, bar, holds }) => [name, value.toFixed(2), unit, bar, holds ? '' : 'BELOW']),
  );
}
