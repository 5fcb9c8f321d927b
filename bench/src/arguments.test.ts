import { describe, expect, test } from 'vitest';
import {
  parseAllReduceArguments,
  parseGenerationArguments,
  parseMoeArguments,
  parseStepArguments,
} from './arguments.js';

describe('the arguments of the bench', () => {
  test('measure every model on one and two threads by default, without peers', () => {
    expect(parseStepArguments([])).toMatchObject({
      models: ['decoder-5m', 'decoder-34m', 'mm1-tiny'],
      precisions: ['fp32', 'bf16'],
      threads: [1, 2],
      processes: [1, 2],
      peers: [],
      chipTflops: undefined,
    });
  });

  test('measure by default what the processor does not emulate, and what is named all the same', () => {
    for (const parse of [parseStepArguments, parseMoeArguments]) {
      expect(parse([], ['fp32']).precisions).toEqual(['fp32']);
      expect(parse(['--precisions', 'fp32,bf16'], ['fp32']).precisions).toEqual(['fp32', 'bf16']);
    }
  });

  test('run less with --quick, except for numbers that are given', () => {
    expect(parseStepArguments([])).toMatchObject({ rounds: 5, steps: 3, warmup: 2 });
    expect(parseStepArguments(['--quick', '--steps', '4'])).toMatchObject({ rounds: 3, steps: 4, warmup: 1 });
  });

  test('choose models, threads, precisions, steps and rounds', () => {
    const words = '--models decoder-5m --threads 4 --precisions bf16 --steps 3 --rounds 2 --chip-tflops 0.4'.split(' ');
    expect(parseStepArguments(words)).toMatchObject({
      models: ['decoder-5m'],
      threads: [4],
      precisions: ['bf16'],
      steps: 3,
      rounds: 2,
      chipTflops: 0.4,
    });
  });

  test('name peers one by one, which invites them', () => {
    expect(parseStepArguments(['--peers']).peers).toEqual(['torch-eager', 'torch-compile', 'torch-ddp', 'jax']);
    expect(parseStepArguments(['--with', 'jax']).peers).toEqual(['jax']);
  });

  test.each([
    [['--models', 'decoder-5n'], '--models has "decoder-5n"', 'did you mean decoder-5m?'],
    [['--threads', '0'], '--threads is "0", not a whole number from 1'],
    [['--rounds', '1.5'], '--rounds is "1.5"'],
    [['--chip-tflops', 'many'], '--chip-tflops is "many"'],
    [['--model', 'x'], "Unknown option '--model'"],
  ])('are refused with the option and the value: %j', (words, ...messages) => {
    for (const message of messages) expect(() => parseStepArguments(words)).toThrow(message);
  });
});

test('the arguments of bench all-reduce name processes and sizes', () => {
  expect(parseAllReduceArguments([])).toMatchObject({
    processes: [2, 4],
    mib: [1, 16, 64, 256],
    rounds: 5,
    peers: false,
  });
  const words = '--processes 3 --mib 0.5,8 --peers'.split(' ');
  expect(parseAllReduceArguments(words)).toMatchObject({ processes: [3], mib: [0.5, 8], peers: true });
  expect(() => parseAllReduceArguments(['--mib', 'all'])).toThrow('--mib is "all"');
});

test('the arguments of bench generation name models, batches and lengths', () => {
  expect(parseGenerationArguments([])).toMatchObject({
    models: ['decoder-34m', 'mm1-tiny', 'moe-tiny'],
    batches: [1, 8],
  });
  const words = '--models moe-tiny --batches 1,32 --prompt 100 --tokens 20 --backend pjrt'.split(' ');
  expect(parseGenerationArguments(words)).toMatchObject({ batches: [1, 32], promptTokens: 100, backend: 'pjrt' });
  expect(() => parseGenerationArguments(['--backend', 'cuda'])).toThrow('none of tensorflow, pjrt, javascript');
});

describe('the arguments of bench moe', () => {
  test('measure everything by default', () => {
    expect(parseMoeArguments([])).toMatchObject({
      parts: ['layer', 'placement'],
      expertWorkers: [0, 1, 2, 4],
      sizes: ['moe-256', 'moe-512'],
      precisions: ['fp32', 'bf16'],
      threads: [1, 2],
    });
  });

  test.each([
    [['--sizes', 'moe-3'], '--sizes has "moe-3", which is none of moe-256, moe-512'],
    [['--parts', 'experts'], '--parts has "experts", which is none of layer, placement'],
    [['--expert-workers', '1,x'], '--expert-workers is "x", not a whole number from 0'],
    [['--rounds', '0'], '--rounds is "0", not a whole number from 1'],
    [['--cores', '2'], "Unknown option '--cores'"],
  ])('refuses %s', (words, message) => {
    expect(() => parseMoeArguments(words)).toThrow(message);
  });
});
