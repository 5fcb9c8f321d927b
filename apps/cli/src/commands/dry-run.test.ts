import { resolveRunConfig } from '@weft/config';
import { tinyRun } from '@weft/testing';
import { expect, it } from 'vitest';
import { bf16Check } from '../doctor/engine-checks.js';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { describePrecision } from './dry-run.js';

const native = { isNative: true, reason: 'AVX512_BF16' };
const emulated = { isNative: false, reason: 'no AVX512_BF16 or AMX' };
const run = (precision: 'fp32' | 'bf16' | 'auto') => resolveRunConfig({ ...tinyRun, precision });

it('a dry run says what auto would be here, and warns of emulated bf16', () => {
  const auto = 'auto: bf16 where every worker has it; this machine: ';
  expect(describePrecision(run('auto'), emulated)).toBe(`${auto}fp32 (no AVX512_BF16 or AMX)`);
  expect(describePrecision(run('auto'), native)).toBe(`${auto}bf16 (AVX512_BF16)`);
  expect(describePrecision(run('bf16'), emulated)).toMatch(/^bf16, which this machine would emulate more slowly than/);
  expect(describePrecision(run('bf16'), native)).toBeUndefined();
  expect(describePrecision(run('fp32'), emulated)).toBeUndefined();
});

it('the sentence stands among the estimates, and in the JSON', async () => {
  const dryRun = async (...words: string[]) => {
    const terminal = recordedTerminal();
    expect(
      await main(['launch', 'debugNano', '--dry-run', '--set', 'engine.backend=javascript', ...words], terminal),
    ).toBe(0);
    return terminal.written.out;
  };
  const sentence = 'auto: bf16 where every worker has it; this machine: fp32 (the JavaScript engine has fp32 only)';
  expect(await dryRun('--set', 'precision=auto')).toMatch(
    new RegExp(`precision +${sentence.replace(/[()]/g, '\\$&')}`),
  );
  expect(JSON.parse(await dryRun('--set', 'precision=auto', '--json')).precision).toBe(sentence);
  expect(JSON.parse(await dryRun('--json'))).not.toHaveProperty('precision');
});

it('the doctor says whether bf16 is native', () => {
  expect(bf16Check(native)).toMatchObject({ status: 'ok', finding: expect.stringContaining('native (AVX512_BF16)') });
  expect(bf16Check(emulated)).toMatchObject({
    status: 'note',
    finding: 'not native (no AVX512_BF16 or AMX); precision: auto takes fp32, and bf16 would be slower than that',
  });
});
