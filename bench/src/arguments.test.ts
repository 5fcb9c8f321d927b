import { describe, expect, test } from 'vitest';
import { parseBenchArguments } from './arguments.js';

describe('the arguments of the bench', () => {
  test('measure every model on one and two threads by default, without peers', () => {
    expect(parseBenchArguments([])).toMatchObject({
      models: ['decoder-5m', 'decoder-34m', 'mm1-tiny'],
      precisions: ['fp32', 'bf16'],
      threads: [1, 2],
      processes: [1, 2],
      peers: [],
      chipTflops: undefined,
    });
  });

  test('take fewer turns with --quick, unless they are told how many', () => {
    expect(parseBenchArguments([])).toMatchObject({ rounds: 5, steps: 3, warmup: 2 });
    expect(parseBenchArguments(['--quick', '--steps', '4'])).toMatchObject({ rounds: 3, steps: 4, warmup: 1 });
  });

  test('choose models, threads, precisions, steps and rounds', () => {
    const words = '--models decoder-5m --threads 4 --precisions bf16 --steps 3 --rounds 2 --chip-tflops 0.4'.split(' ');
    expect(parseBenchArguments(words)).toMatchObject({
      models: ['decoder-5m'],
      threads: [4],
      precisions: ['bf16'],
      steps: 3,
      rounds: 2,
      chipTflops: 0.4,
    });
  });

  test('name peers one by one, which invites them', () => {
    expect(parseBenchArguments(['--peers']).peers).toEqual(['torch-eager', 'torch-compile', 'torch-ddp', 'jax']);
    expect(parseBenchArguments(['--with', 'jax']).peers).toEqual(['jax']);
  });

  test.each([
    [['--models', 'decoder-5n'], '--models has "decoder-5n"', 'did you mean decoder-5m?'],
    [['--threads', '0'], '--threads is "0", not a whole number from 1'],
    [['--rounds', '1.5'], '--rounds is "1.5"'],
    [['--chip-tflops', 'many'], '--chip-tflops is "many"'],
    [['--model', 'x'], "Unknown option '--model'"],
  ])('are refused with the option and the value: %j', (words, ...messages) => {
    for (const message of messages) expect(() => parseBenchArguments(words)).toThrow(message);
  });
});
