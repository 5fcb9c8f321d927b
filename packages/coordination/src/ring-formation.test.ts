import { describe, expect, it } from 'vitest';
import { DecideHarness, RUN } from './testing/decide-harness.js';
import { tinyConfig } from './testing/tiny-config.js';

describe('forming the first ring', () => {
  it('waits until enough workers are idle, and says for how many', () => {
    const harness = new DecideHarness();
    harness.launch({ workers: 3 });
    expect(harness.view()).toMatchObject({ status: 'queued', worldSize: 0 });
    expect(harness.view().reason).toBe(
      'it was launched; it waits for 3 more workers: it needs 3, 0 are connected and 0 of them are idle',
    );
    harness.connect('a', 'b');
    expect(harness.view().reason).toContain(
      'waits for 1 more worker: it needs 3, 2 are connected and 2 of them are idle',
    );
    expect(harness.commandsOf('assign')).toEqual([]);
    harness.connect('c');
    expect(harness.view()).toMatchObject({ status: 'running', worldSize: 3, generation: 1 });
    expect(harness.view().reason).toBe('it trains step 1 of 6 on 3 workers');
  });

  it('sends every member its ring, its first step and the order to begin afresh', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch();
    const [assign] = harness.commandsOf('assign');
    expect(assign).toMatchObject({ runId: RUN, generation: 1, firstStep: 1, startFrom: { kind: 'fresh' } });
    expect(assign?.ring).toEqual([
      { workerId: 'a', address: 'a:1' },
      { workerId: 'b', address: 'b:1' },
    ]);
    expect(harness.log.map(({ kind }) => kind)).toEqual(['launched', 'assigned']);
  });

  it('puts the workers of one host side by side, those that came earlier first', () => {
    const harness = new DecideHarness();
    harness.connect('west/1', 'east/1', 'west/2', 'east/2', 'north/1');
    harness.launch({ workers: 4 });
    expect(harness.members).toEqual(['east/1', 'east/2', 'west/1', 'west/2']);
  });

  it('starts queued runs in the order of launch, and lets a smaller one pass one that cannot start', () => {
    const harness = new DecideHarness();
    harness.launch({ workers: 3 }, 'big');
    harness.launch({ workers: 1 }, 'small');
    harness.launch({ workers: 1 }, 'last');
    harness.connect('a');
    expect(harness.view('small').status).toBe('running');
    expect(harness.view('big').reason).toContain('it needs 3, 1 is connected and 0 of them are idle');
    harness.connect('b');
    expect(harness.view('last').status).toBe('running');
    expect(harness.view('big').status).toBe('queued');
  });

  it('lets an idle worker get ready while an active run lacks one, and the others train on', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch();
    harness.train(1);
    harness.disconnect('b');
    harness.advance(500, 'a');
    harness.connect('c');
    harness.train(1);
    expect(harness.members).toEqual(['a']);
    expect(harness.view().reason).toBe('it trains step 3 of 6 on 1 of 2 workers, and 1 more worker will join');
  });

  it('fills the gap with an idle worker where nobody has trained yet', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b', 'c');
    harness.launch();
    harness.disconnect('a');
    harness.advance(500, 'b', 'c');
    expect(harness.members).toEqual(['b', 'c']);
    expect(harness.lastCommand('assign')?.startFrom).toEqual({ kind: 'fresh' });
  });
});

describe('precision: auto', () => {
  const precisions = (harness: DecideHarness) => harness.commandsOf('assign').map(({ config }) => config.precision);

  it('is bf16 where every worker has it: recorded, in the assignment, and in config.json', () => {
    const harness = new DecideHarness();
    harness.connectBf16('a', 'b');
    harness.launch({ precision: 'auto' });
    expect(precisions(harness)).toEqual(['bf16']);
    expect(harness.log.at(-1)).toMatchObject({ kind: 'assigned', precision: 'bf16' });
    expect(harness.commandsOf('writeConfig').map(({ config }) => config.precision)).toEqual(['auto', 'bf16']);
    expect(harness.reason).toContain('in bf16 (auto: every worker has it)');
  });

  it('is fp32 on all ranks where one worker lacks bf16, and says which', () => {
    const harness = new DecideHarness();
    harness.connectBf16('a');
    harness.connect('b');
    harness.launch({ precision: 'auto' });
    expect(precisions(harness)).toEqual(['fp32']);
    expect(harness.reason).toContain('in fp32 (auto: worker b on host has no bf16 instructions)');
  });

  it('asks expert workers too', () => {
    const harness = new DecideHarness();
    harness.connectBf16('a');
    harness.connectExperts('x');
    const { model } = tinyConfig();
    const decoder = { ...model.decoder, moe: { experts: 4 } };
    harness.launch({ precision: 'auto', workers: 1, expertWorkers: 1, model: { ...model, decoder } });
    expect(precisions(harness)).toEqual(['fp32']);
  });

  it('asks about the backend of the run', () => {
    const harness = new DecideHarness();
    harness.connectBf16('a', 'b');
    harness.launch({ precision: 'auto', engine: { backend: 'javascript' } });
    expect(precisions(harness)).toEqual(['fp32']);
  });

  it('stays what it became when other workers make up later generations', () => {
    const harness = new DecideHarness();
    harness.connectBf16('a', 'b');
    harness.launch({ precision: 'auto' });
    harness.disconnect('a');
    harness.connect('c');
    harness.advance(500, 'b', 'c');
    expect(harness.members).toEqual(['b', 'c']);
    expect(precisions(harness)).toEqual(['bf16', 'bf16']);
    const records = harness.log.filter((record) => record.kind === 'assigned');
    expect(records.map((record) => 'precision' in record)).toEqual([true, false]);
  });

  it('stays what it became when the coordinator restarts and the run is resumed on other workers', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch({ precision: 'auto' });
    harness.train(2);
    harness.checkpoint(2);
    harness.restart('manual');
    harness.connectBf16('c', 'd');
    harness.resume({ checkpoint: { step: 2, directory: '/step-2' }, skipped: [] }, { steps: 8 });
    expect(harness.members).toEqual(['c', 'd']);
    expect(precisions(harness)).toEqual(['fp32', 'fp32']);
    expect(harness.lastCommand('writeConfig')?.config).toMatchObject({ precision: 'fp32', steps: 8 });
  });

  it('is not asked where the precision is given', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch({ precision: 'bf16' });
    expect(precisions(harness)).toEqual(['bf16']);
    expect(harness.log.at(-1)).not.toHaveProperty('precision');
    expect(harness.commandsOf('writeConfig')).toHaveLength(1);
  });
});

describe('a ring that forms again', () => {
  it('does not wait longer because the clock was set back', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b', 'c');
    harness.launch({ workers: 3 });
    harness.train(2);
    harness.advance(100, 'a', 'b', 'c');
    harness.disconnect('c');
    harness.nowMs -= 3_600_000;
    harness.advance(1000, 'a', 'b');
    expect(harness.view()).toMatchObject({ generation: 2, worldSize: 2 });
  });

  it('does not await members for longer because the clock was set back after a restart', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b', 'c');
    harness.launch({ workers: 3 });
    harness.train(2);
    harness.restart('auto');
    harness.comeBack('a');
    harness.comeBack('b');
    harness.advance(100, 'a', 'b');
    harness.nowMs -= 3_600_000;
    harness.advance(2000, 'a', 'b');
    expect(harness.view()).toMatchObject({ generation: 2, worldSize: 2 });
  });
});
