import { describe, expect, it } from 'vitest';
import { isInStep } from './dependencies.mjs';
import { comparePrecisions, isWithinNoise, smoothed } from './precision-curves.mjs';
import { planQuickstart } from './quickstart.mjs';
import { skippedTests } from './requirements.mjs';

describe('npm run quickstart', () => {
  it('launches the small recipe here, with the options a person gave', () => {
    expect(planQuickstart([], true)).toEqual({ recipe: 'debugTiny', launch: ['--local'], settings: [] });
    expect(planQuickstart(['--steps', '20', '--workers', '3'], true).launch).toEqual([
      ...['--local', '--steps', '20', '--workers', '3'],
    ]);
    expect(planQuickstart(['--local', '4'], true).launch).toEqual(['--local', '4']);
  });

  it('takes the smallest recipe without TensorFlow, unless a person names one', () => {
    expect(planQuickstart(['--steps', '3'], false).recipe).toBe('debugNano');
    expect(planQuickstart(['mm1Tiny', '--steps', '3'], false)).toMatchObject({
      recipe: 'mm1Tiny',
      launch: ['--local', '--steps', '3'],
    });
  });

  it('indexes the data with the settings of the run', () => {
    const words = ['--set', 'seed=1', 'model.sequenceLength=64', '--json', '--set=steps=2'];
    const settings = ['--set', 'seed=1', '--set', 'model.sequenceLength=64', '--set', 'steps=2'];
    expect(planQuickstart(words, true).settings).toEqual(settings);
  });
});

describe('installed packages', () => {
  const koffi = { version: '1.0.0', integrity: 'sha512-a' };
  const wanted = { '': {}, 'packages/engine': {}, 'node_modules/koffi': koffi };

  it('are in step when every locked one is there in its version', () => {
    expect(isInStep(wanted, { 'node_modules/koffi': koffi })).toBe(true);
    expect(isInStep(wanted, {})).toBe(false);
    expect(isInStep(wanted, { 'node_modules/koffi': { ...koffi, version: '1.0.1' } })).toBe(false);
    expect(isInStep(wanted, { 'node_modules/koffi': { ...koffi, integrity: 'sha512-b' } })).toBe(false);
  });

  it('may lack what is for other platforms, but no workspace', () => {
    const optional = { 'node_modules/koffi-mac': { ...koffi, optional: true } };
    expect(isInStep({ ...wanted, ...optional }, { 'node_modules/koffi': koffi })).toBe(true);
    const link = { 'node_modules/@weft/cli': { resolved: 'apps/cli', link: true } };
    expect(isInStep({ ...wanted, ...link }, { 'node_modules/koffi': koffi })).toBe(false);
    expect(isInStep(link, { 'node_modules/@weft/cli': { resolved: 'apps/other', link: true } })).toBe(false);
  });
});

describe('tests that need more than npm gives', () => {
  const promtool = {
    kind: 'promtool',
    isThere: () => false,
    missing: 'promtool was not found',
    hint: 'install prometheus',
  };

  it('are skipped with one sentence and its hint', () => {
    expect(skippedTests(['a/x.promtool.test.ts', 'a/x.test.ts'], [promtool])).toEqual({
      skipped: ['a/x.promtool.test.ts'],
      sentences: ['skipped a/x.promtool.test.ts: promtool was not found: install prometheus.'],
    });
  });

  it('can be all tests of a folder', () => {
    const tensorflow = { ...promtool, kind: 'tensorflow', folder: 'e2e' };
    expect(skippedTests(['e2e/a.test.ts', 'a/x.tensorflow.test.ts', 'a/e2e/x.test.ts'], [tensorflow])).toEqual({
      skipped: ['e2e/a.test.ts', 'a/x.tensorflow.test.ts'],
      sentences: ['skipped 2 files of tensorflow tests: promtool was not found: install prometheus.'],
    });
  });

  it('are not looked into when nothing needs them, and run when everything is there', () => {
    expect(skippedTests(['a/x.test.ts'], [promtool]).sentences).toEqual([]);
    expect(skippedTests(['a/x.promtool.test.ts'], [{ ...promtool, isThere: () => true }]).skipped).toEqual([]);
  });
});

describe('loss curves of two precisions', () => {
  const losses = (shift: number) => Array.from({ length: 60 }, (_, i) => 5 / (i + 1) + shift);
  const run = (seed: number, shift: number) => ({
    seed,
    losses: losses(shift),
    heldOut: [{ step: 60, loss: 1 + shift }],
  });
  const fp32 = [run(1, 0), run(2, 0.1)];

  it('are smoothed about every step, over what there is at the ends', () => {
    expect(smoothed([3, 3, 3])).toEqual([3, 3, 3]);
    expect(smoothed(Array.from({ length: 41 }, (_, i) => i))[20]).toBeCloseTo(20);
  });

  it('agree when they are closer than two seeds, in training and held out', () => {
    const near = comparePrecisions({ fp32, bf16: [run(1, 0.02), run(2, 0.09)] });
    expect(near.apart.seeds).toBeCloseTo(0.1);
    expect(near.apart.precisions).toBeCloseTo(0.015);
    expect(near.heldOut.deviation.fp32).toBeCloseTo(0.1 / Math.sqrt(2));
    expect(isWithinNoise(near)).toBe(true);
  });

  it('do not agree when bf16 is worse by more than seeds differ', () => {
    expect(isWithinNoise(comparePrecisions({ fp32, bf16: [run(1, 0.2), run(2, 0.3)] }))).toBe(false);
    const heldOutOnly = fp32.map(({ seed, losses }) => ({ seed, losses, heldOut: [{ step: 60, loss: 2 }] }));
    expect(isWithinNoise(comparePrecisions({ fp32, bf16: heldOutOnly }))).toBe(false);
  });
});
