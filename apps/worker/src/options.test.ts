import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { childOptions } from './gpu-workers.js';
import { argumentsOf, parseOptions } from './options.js';
import { describeDevice } from './start.js';

describe('the options of weft worker', () => {
  it('are those of a worker beside its coordinator by default', () => {
    expect(parseOptions([], { WEFT_HOME: '/srv/weft' })).toEqual({
      role: 'worker',
      coordinator: undefined,
      home: '/srv/weft',
      host: undefined,
      dataPort: 0,
      metricsPort: 0,
      gpus: undefined,
      threads: undefined,
      peakTflops: undefined,
      exitWithStdin: false,
      name: hostname(),
    });
  });

  it('can all be given', () => {
    const argv =
      '--coordinator a:1 --home /x --host 10.0.0.1 --data-port 2 --metrics-port 3 --gpus 0,1 --threads 4 --peak-tflops 98.5 --exit-with-stdin --name n';
    expect(parseOptions(argv.split(' '), { WEFT_COORDINATOR: 'b:2' })).toEqual({
      role: 'worker',
      coordinator: 'a:1',
      home: '/x',
      host: '10.0.0.1',
      dataPort: 2,
      metricsPort: 3,
      gpus: ['0', '1'],
      threads: 4,
      peakTflops: 98.5,
      exitWithStdin: true,
      name: 'n',
    });
  });

  it('take the peak of the devices from the environment, and refuse what is none', () => {
    expect(parseOptions([], { WEFT_PEAK_TFLOPS: '312' })?.peakTflops).toBe(312);
    expect(parseOptions(['--peak-tflops', '989'], { WEFT_PEAK_TFLOPS: '312' })?.peakTflops).toBe(989);
    expect(() => parseOptions([], { WEFT_PEAK_TFLOPS: 'fast' })).toThrow(
      'WEFT_PEAK_TFLOPS must be a number above 0, not "fast"',
    );
    expect(() => parseOptions(['--peak-tflops', '0'], {})).toThrow(/a number above 0/);
  });

  it('take the coordinator of the environment unless a home is named', () => {
    expect(parseOptions([], { WEFT_COORDINATOR: 'b:2' })?.coordinator).toBe('b:2');
    expect(parseOptions(['--home', '/x'], { WEFT_COORDINATOR: 'b:2' })?.coordinator).toBeUndefined();
  });

  it('are refused with option, value and hint', () => {
    const refusal = (argv: string[], env = {}) => {
      try {
        parseOptions(argv, env);
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(refusal(['--threads', '0'])).toMatchObject({
      message: '--threads must be a whole number from 1 to 1024, not "0"',
    });
    expect(refusal(['--coordinator', 'nowhere'])).toMatchObject({
      code: 'invalid_argument',
      message: '--coordinator must be host:port, such as 127.0.0.1:7070, not "nowhere"',
    });
    expect(refusal([], { WEFT_COORDINATOR: 'nowhere' })).toMatchObject({
      exitCode: 2,
      message: 'WEFT_COORDINATOR: "nowhere" is not an address',
    });
    expect(refusal(['--gpus', '0,0'])).toMatchObject({
      message: '--gpus must be a list of different GPUs such as 0,1,2, or none, not "0,0"',
    });
    expect(refusal(['--thread', '1'])).toMatchObject({ hint: 'did you mean --threads' });
  });

  it('are explained on request, every one of them', () => {
    const written: string[] = [];
    const output = { write: (text: string) => written.push(text) };
    expect(parseOptions(['-h'], {}, 'worker', output)).toBeUndefined();
    const names = [
      'coordinator',
      'home',
      'host',
      'data-port',
      'metrics-port',
      'gpus',
      'threads',
      'name',
      'exit-with-stdin',
    ];
    for (const name of names) expect(written.join('')).toContain(`--${name}`);
  });
});

describe('a worker per GPU', () => {
  it('is given its own GPU and ports, and the rest as it was', () => {
    const argv = ['--gpus', '0,1', '--data-port=7000', '--name', 'n', '--threads', '3', '--metrics-port', '9'];
    const options = parseOptions(argv, { WEFT_HOME: '/srv/weft', WEFT_COORDINATOR: 'a:1' })!;
    const child = childOptions(options, ['0', '1'], 1);
    expect(child).toEqual({ ...options, gpus: ['1'], dataPort: 7001, metricsPort: 10, exitWithStdin: true });
    expect(parseOptions(argumentsOf(child), {})).toEqual(child);
    expect(childOptions({ ...options, dataPort: 0 }, ['0', '1'], 1).dataPort).toBe(0);
  });

  it('is given no option that its parent has not', () => {
    const options = parseOptions(['--gpus', 'none', '--home', '/x'], { WEFT_COORDINATOR: 'a:1' }, 'expert-worker')!;
    expect(parseOptions(argumentsOf(options), {}, 'expert-worker')).toEqual(options);
    expect(argumentsOf(options)).not.toContain('--threads');
  });
});

describe('the device of a worker', () => {
  const tensorflow = {
    found: true,
    version: '2.21.0',
    variant: 'cpu',
    directory: '/x',
    source: 'cache',
    reason: '',
  } as const;

  it('is described in a few words', () => {
    const host = { accelerator: undefined, library: tensorflow, visibleGpus: undefined, threads: 1 };
    expect(describeDevice(host)).toBe('cpu, 1 thread, TensorFlow 2.21.0');
    expect(describeDevice({ ...host, visibleGpus: '3', threads: undefined })).toBe('gpu 3, TensorFlow 2.21.0');
    const none = { found: false, reason: 'none', hint: 'get one' } as const;
    expect(describeDevice({ ...host, library: none, threads: 2 })).toBe('cpu, 2 threads, JavaScript');
    const accelerator = { found: true, path: '/p.so', version: '0.11.2', source: 'cache', reason: '' } as const;
    expect(describeDevice({ ...host, accelerator })).toBe('gpu, PJRT 0.11.2');
    expect(describeDevice({ ...host, accelerator, visibleGpus: '3' })).toBe('gpu 3, PJRT 0.11.2');
  });
});
