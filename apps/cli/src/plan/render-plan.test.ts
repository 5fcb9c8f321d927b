import { deferred } from '@weft/common';
import { recipe } from '@weft/recipes';
import { expect, test } from 'vitest';
import { main } from '../main.js';
import { printLines } from '../styled-lines.js';
import { recordedTerminal, screenOf } from '../testing/fixtures.js';
import type { CompiledPlan } from './compile-plan.js';
import { showPlan } from './show-plan.js';

test('the dry run says first whether it fits, and exits with 1 where it does not', async () => {
  const dryRun = async (...words: string[]) => {
    const terminal = recordedTerminal();
    const exitCode = await main(['launch', ...words, '--dry-run', '--no-compile'], terminal);
    return { exitCode, ...terminal.written };
  };
  const fitting = await dryRun('mm1-3b', '--devices', '8x80GiB', '--chip', 'h100', '--hosts', '4', '--price', '2');
  expect(fitting.exitCode).toBe(0);
  expect(fitting.out).toMatch(/^Plan for 4 hosts of 8 × NVIDIA H100 80GB HBM3\n {2}It fits: /);
  expect(fitting.out).toMatch(/MFU +\d+ %\n +the run +\d.*days for 200,000 steps\n +cost +\d/);
  const missing = await dryRun('mm1-30b', '--devices', '8x40GB');
  expect(missing.exitCode).toBe(1);
  expect(missing.out).toMatch(/\n {2}It does not fit with microbatchSize 1, .*\n {2}It fits on .*--set /);
  expect(missing.out).toContain('name the GPUs, such as --chip h100, to estimate it');
  const json = JSON.parse((await dryRun('mm1-3b', '--devices', '8xh100', '--json')).out);
  expect(json.plan).toMatchObject({ layout: { fits: true }, microbatchesPerStep: 512 });
});

test('options that say nothing alone, and devices that cannot be read, are refused', async () => {
  const refusal = async (...words: string[]) => {
    const terminal = recordedTerminal();
    expect(await main(['launch', 'debugNano', ...words], terminal)).toBe(2);
    return terminal.written.err;
  };
  expect(await refusal('--devices', '8xh100')).toContain('write --dry-run too');
  expect(await refusal('--dry-run', '--chip', 'h100')).toContain('--chip says more of --devices');
  for (const devices of ['0x80GiB', '8x0GiB', '1025xh100', '8x', 'h100'])
    expect(await refusal('--dry-run', '--devices', devices), devices).toContain('8x80GiB or 8xh100');
});

const compiled: CompiledPlan = {
  temporaries: 5 * 2 ** 30,
  total: 12 * 2 ** 30,
  fits: true,
  compiled: [
    { decoderLayers: 4, encoderLayers: 5, temporaries: 2e9, seconds: 12 },
    { decoderLayers: 8, encoderLayers: 10, temporaries: 3e9, seconds: 18 },
  ],
};

/** A dry run of mm1-3b whose compiler answers with `answer` once `release` is called. */
async function shown(options: { isTTY?: boolean; json?: boolean }, answer: CompiledPlan) {
  const terminal = recordedTerminal({ isTTY: options.isTTY ?? false, columns: 200 });
  const compiling = deferred<CompiledPlan>();
  const config = { ...recipe('mm1-3b'), microbatchSize: 8, activationCheckpointing: 'full' } as const;
  const planned = showPlan(
    { terminal, json: options.json ?? false },
    config,
    { count: 8, chip: 'h100' },
    {},
    () => compiling.promise,
  );
  const before = screenOf(terminal.written.out, 200).join('\n');
  compiling.resolve(answer);
  const { lines, ...others } = await planned;
  printLines(terminal, lines);
  return { before, after: screenOf(terminal.written.out, 200).join('\n'), ...others };
}

test('on a terminal the formula answers at once, and the compiler’s answer takes its place', async () => {
  const { before, after } = await shown({ isTTY: true }, compiled);
  expect(before).toMatch(/It fits: 12.2.GiB of .*\(a formula, until it is compiled\).*compiling …/s);
  expect(after).not.toContain('until it is compiled');
  expect(after).toMatch(
    /It fits: 12.GiB of 79.*activations +5.GiB, .*compiled with 4 \+ 5 and 8 \+ 10 layers of decoder and encoder, and extended in 30.*the formula says 5\./s,
  );
});

test('elsewhere it follows, and a compiler that needs more is believed', async () => {
  const { after, fits, plan } = await shown({}, { ...compiled, total: 90 * 2 ** 30, fits: false });
  expect(after).toMatch(/It fits: 12.2.*By the compiler\n {2}It does not fit with .*: 90.GiB of 79/s);
  expect(fits).toBe(false);
  expect(plan).toMatchObject({ layout: { fits: true }, compiled: { fits: false } });
});

test('as JSON nothing is printed before both are there', async () => {
  const { before, plan } = await shown({ json: true }, compiled);
  expect(before.trim()).toBe('');
  expect(plan).toMatchObject({ layout: { memory: { activations: expect.any(Number) } }, compiled });
});
