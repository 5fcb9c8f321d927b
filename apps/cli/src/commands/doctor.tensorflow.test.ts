import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { main } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';

async function doctor(...argv: string[]) {
  const terminal = recordedTerminal({ env: { WEFT_REDIS_URL: 'redis://127.0.0.1:1' } });
  const exitCode = await main(['doctor', ...argv], terminal);
  return { exitCode, ...terminal.written };
}

it('the doctor proves the engine by a computation and finds what is missing, each with its hint', async () => {
  await using home = await temporaryDirectory();
  const { exitCode, out } = await doctor('--home', home.path, '--json');
  const { canTrain, checks } = JSON.parse(out);
  expect({ exitCode, canTrain }).toEqual({ exitCode: 0, canTrain: true });
  const check = (name: string) => checks.find((each: { name: string }) => each.name === name);
  expect(check('engine')).toMatchObject({ status: 'ok', finding: expect.stringMatching(/^TensorFlow \d/) });
  expect(check('fallback')).toMatchObject({ status: 'ok' });
  expect(check('demo data')).toMatchObject({ status: 'missing', hint: 'run weft data fetch demo' });
  expect(check('bf16')).toMatchObject({ finding: expect.stringMatching(/^(not )?native \(/) });
  expect(check('Redis')).toMatchObject({ status: 'missing', hint: expect.stringContaining('start it') });
  for (const { status, hint } of checks) if (status === 'missing') expect(hint).toBeTruthy();
});

it('the doctor says with its exit code that a machine cannot train', async () => {
  const { exitCode, out } = await doctor('--home', '/dev/null/weft');
  expect(exitCode).toBe(1);
  expect(out).toMatch(/✗ home +\/dev\/null\/weft cannot be written\n +→ choose another directory/);
  expect(out).toMatch(/This machine cannot train yet/);
});
