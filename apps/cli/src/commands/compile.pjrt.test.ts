import { installCompiler } from '@weft/backend-pjrt';
import { WeftError } from '@weft/common';
import { expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { deviceNeed } from './compile.js';

async function compile(...argv: string[]) {
  const terminal = recordedTerminal({ columns: 100 });
  const exitCode = await main(['compile', ...argv], terminal);
  return { exitCode, ...terminal.written };
}

it.each([
  [['debugTiny'], "error: required option '--devices <NxCHIP>' not specified"],
  [['debugTiny', '--devices', '0xh100'], '--devices must be a number of at least 1, an x and a chip, such as 8xh100'],
  [['debugTiny', '--devices', 'h100'], '--devices must be a number of at least 1, an x and a chip, such as 8xh100'],
  [['debugTiny', '--devices', '1xh10'], 'error: there is no chip "h10": write h100, or one of a100, h100, h200.\n'],
  [
    ['debugTiny', '--devices', '8xh100', '--set', 'engine.mesh.fsdp=2'],
    'engine.mesh is fsdp 2 × tensor 1 × expert 1 = 2 devices, but the worker has 8',
  ],
  [
    ['debugTiny', '--devices', '3xh100', '--set', 'engine.mesh.fsdp=3'],
    'but must be a multiple of 3, the devices that engine.mesh cuts the batch over',
  ],
  [['debugTini', '--devices', '1xh100'], 'error: there is no recipe "debugTini": write debugTiny'],
])('%j is refused in one sentence', async (argv, sentence) => {
  const { exitCode, out, err } = await compile(...argv);
  expect(exitCode).toBeGreaterThan(0);
  expect(out).toBe('');
  expect(err).toContain(sentence);
});

it('adds up what a device holds at most', () => {
  const memory = { code: 0, arguments: 0, outputs: 0, aliases: 0, temporaries: 0 };
  const facts = { flops: 0, compileSeconds: 0, collectives: [], fusedAttentionCalls: 0, gatheredBytes: 0 };
  const phases = [
    { phase: 'gradients', memory: { ...memory, outputs: 10, temporaries: 50 }, ...facts },
    { phase: 'apply', memory: { ...memory, outputs: 31, aliases: 30, temporaries: 5 }, ...facts },
  ];
  const need = { state: 30, gradients: 10, temporaries: 50, total: 90 };
  expect(deviceNeed(phases, { memoryBytes: 100 })).toEqual({ ...need, memory: 100, fits: true });
  expect(deviceNeed(phases, { memoryBytes: 92 })).toMatchObject({ fits: false });
});

const SHALLOW = ['--set', 'model.decoder.depth=1', 'model.vision.depth=1', 'model.connector.depth=1'];

it('compiles a shallow recipe for an H100 on a machine without one', async (context) => {
  try {
    await installCompiler();
  } catch (thrown) {
    return context.skip(`NVIDIA's compiler cannot be had: ${WeftError.from(thrown).message}`);
  }
  const { exitCode, out, err } = await compile('debugNano', '--devices', '1xh100', ...SHALLOW);
  expect(err).toMatch(/^gradients: compiling/m);
  expect(err).toMatch(/^apply: compiled in /m);
  expect(out).toMatch(/^debugNano on 1 × NVIDIA H100 80GB HBM3$/m);
  for (const row of ['state', 'gradients', 'temporaries', 'together', 'collectives', 'attention', 'compute']) {
    expect(out).toMatch(new RegExp(`^  ${row} `, 'm'));
  }
  expect(out).toMatch(/It fits\.\n$/);
  expect(exitCode).toBe(0);
}, 600_000);
