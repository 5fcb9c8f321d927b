import { Ledger, scheduleOf, stepRanges } from '@weft/mixture';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ledgerRecords } from './run-state.js';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';

const STEP_4 = { checkpoint: { step: 4, directory: '/step-4' }, skipped: [] };
const EVEN = { captioned: '5', interleaved: '5', text: '1' };
const MORE_TEXT = { captioned: '1/4', interleaved: '0.25', text: '0.5' };

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.connect('a', 'b');
  harness.launch({
    steps: 30,
    data: { directory: 'data', weights: { captioned: 4, interleaved: 4, text: 1 }, indexVersion: 1 },
  });
  harness.train(5);
});

const config = () => harness.state.runs.get(RUN)!.state.config;
const changes = () => config().data.mixtureChanges;
/** The ledger has the ranges of the schedule. */
function expectPlanned(): void {
  const schedule = scheduleOf(config());
  for (const { step, ranges } of Ledger.fold(ledgerRecords(harness.log)).entries)
    expect(ranges).toEqual(stepRanges(schedule, config().globalBatchSize, step, config().data.skippedBatches));
}

describe('a mixture that changes while a run trains', () => {
  it('is told to the members at its step, in a generation of its own, and counts what was consumed on', () => {
    harness.changeMixture(9, EVEN);
    expect(changes()).toEqual([{ fromBatch: 9, weights: { captioned: 5, interleaved: 5, text: 1 }, indexVersion: 1 }]);
    expect(harness.log.at(-1)).toMatchObject({ kind: 'mixtureChanged', fromStep: 9, reason: 'a test' });
    harness.train(2);
    expect(harness.view()).toMatchObject({ step: 7, generation: 1 });
    harness.clearCommands();
    harness.train(1);
    expect(harness.view()).toMatchObject({ step: 8, generation: 2, status: 'running', worldSize: 2 });
    expect(harness.lastCommand('endGeneration')).toMatchObject({ generation: 1, afterStep: 8 });
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 9, startFrom: { kind: 'keep' } });
    expect(harness.lastCommand('assign')?.config.data.mixtureChanges).toEqual(changes());
    harness.train(10);
    expect(harness.view()).toMatchObject({ step: 18, generation: 2 });
    expectPlanned();
  });

  it('takes fractions exactly, and a later change after an earlier one in any order of the requests', () => {
    harness.changeMixture(20, EVEN);
    harness.changeMixture(10, MORE_TEXT);
    expect(changes().map(({ fromBatch, weights }) => [fromBatch, Object.values(weights)])).toEqual([
      [10, [1, 1, 2]],
      [20, [5, 5, 1]],
    ]);
    harness.train(20);
    // The generation that began with the first change knows of both.
    expect(harness.view().generation).toBe(2);
    expectPlanned();
  });

  it('is refused for a step that is committed or being trained, and behind the last one', () => {
    expect(() => harness.changeMixture(5, EVEN)).toThrow('step 5 of run tiny-1 is committed: it has its data');
    expect(() => harness.changeMixture(6, EVEN)).toThrow('step 6 of run tiny-1 is being trained');
    expect(() => harness.changeMixture(31, EVEN)).toThrow('ends with step 30, before step 31');
    expect(changes()).toEqual([]);
    harness.changeMixture(7, EVEN);
    harness.train(2);
    expectPlanned();
  });

  it('is refused where weights are missing, unknown, no numbers or all 0', () => {
    expect(() => harness.changeMixture(9, { captioned: '5' })).toThrow('there is no weight for interleaved, text');
    expect(() => harness.changeMixture(9, { ...EVEN, txt: '1' })).toThrow(
      expect.objectContaining({ message: 'the run has no source txt', hint: 'did you mean text?' }),
    );
    expect(() => harness.changeMixture(9, { ...EVEN, text: 'much' })).toThrow('the weight text=much is no number');
    expect(() => harness.changeMixture(9, { captioned: '0', interleaved: '0', text: '0' })).toThrow('all 0');
  });

  it('goes on with a newer version of the index, and not with an older one', () => {
    harness.changeMixture(9, {}, 3);
    harness.changeMixture(12, EVEN);
    expect(changes().map(({ indexVersion }) => indexVersion)).toEqual([3, 3]);
    expect(() => harness.changeMixture(15, {}, 2)).toThrow('reads version 3 of the data index');
    harness.changeMixture(7, {}, 4);
    expect(changes().map(({ indexVersion }) => indexVersion)).toEqual([4, 4, 4]);
  });
});

describe('a mixture that changed before a failure', () => {
  it('holds when the coordinator is killed before its step, and members come back that do not know of it', () => {
    harness.changeMixture(7, EVEN);
    harness.train(1);
    expect(harness.view()).toMatchObject({ step: 6, generation: 2 });
    // As if the last coordinator had died after it wrote the commit, and nobody had got to know of generation 2.
    const log = harness.logs.get(RUN)!;
    while (log.at(-1)?.kind !== 'committed') log.pop();
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: NO_CHECKPOINT });
    harness.clearCommands();
    harness.comeBack('a');
    harness.comeBack('b');
    expect(harness.commandsOf('continueGeneration')).toEqual([]);
    harness.advance(20_000, 'a', 'b');
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 7, startFrom: { kind: 'keep' } });
    expect(harness.lastCommand('assign')?.config.data.mixtureChanges).toEqual(changes());
    harness.train(3);
    expectPlanned();
  });

  it('goes on in the same generation where its step is still to come', () => {
    harness.changeMixture(9, EVEN);
    harness.train(1);
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: NO_CHECKPOINT });
    harness.comeBack('a');
    harness.comeBack('b');
    expect(harness.view()).toMatchObject({ step: 6, generation: 1, status: 'running' });
    harness.train(6);
    expect(harness.view()).toMatchObject({ step: 12, generation: 2 });
    expectPlanned();
  });

  it('stays when a worker is lost, when the ring breaks, and when the run goes back before it', () => {
    harness.checkpoint(4);
    harness.changeMixture(8, EVEN);
    harness.breakRing('a');
    harness.advance(20_000, 'a', 'b');
    harness.train(4);
    expect(harness.view().step).toBe(9);
    expectPlanned();
    harness.disconnect('a', 'b');
    harness.connect('c', 'd');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: STEP_4 });
    harness.advance(60_000, 'c', 'd');
    expect(harness.view()).toMatchObject({ step: 4, status: 'running' });
    harness.train(8);
    expectPlanned();
  });
});

describe('a run that is resumed', () => {
  beforeEach(() => {
    harness.checkpoint(4);
    harness.stop(false);
  });

  it('may have other weights and a newer version of the index from there on', () => {
    harness.resume(STEP_4, { settings: ['data.weights=1:1:2', 'data.indexVersion=2', 'data.prefetchSteps=5'] });
    expect(changes()).toEqual([{ fromBatch: 5, weights: { captioned: 1, interleaved: 1, text: 2 }, indexVersion: 2 }]);
    expect(config().data).toMatchObject({ weights: { captioned: 4, interleaved: 4, text: 1 }, prefetchSteps: 5 });
    harness.train(8);
    expectPlanned();
    // The log alone tells it again.
    harness.restart('auto');
    expect(changes()).toHaveLength(1);
  });

  it('changes one weight of those that hold where it goes on', () => {
    harness.resume(STEP_4, { settings: ['data.weights=1:1:2'] });
    harness.train(4);
    harness.checkpoint(8);
    harness.stop(false);
    harness.resume(
      { checkpoint: { step: 8, directory: '/step-8' }, skipped: [] },
      { settings: ['data.weights.text=3'] },
    );
    expect(changes().at(-1)).toMatchObject({ fromBatch: 9, weights: { captioned: 1, interleaved: 1, text: 3 } });
    harness.train(3);
    expectPlanned();
  });

  it.each([
    ['data.tokenizer=t.json', 'some would be repeated or left out'],
    ['data.imagesPerSequence=4', 'some would be repeated or left out'],
    ['data.sources.web=text', 'some would be repeated or left out'],
    ['data.datasets.text.textField=content', 'some would be repeated or left out'],
    ['data.images.fit=crop', 'stays as it is'],
    ['data.mixtureChanges=[]', 'weft data reweight'],
  ])('may not have another %s', (setting, reason) => {
    expect(() => harness.resume(STEP_4, { settings: [setting] })).toThrow(reason);
  });

  it('goes on with any setting where earlier and later changes read other versions of the index', () => {
    harness.resume(STEP_4, { settings: ['data.indexVersion=2'] });
    harness.changeMixture(7, EVEN, 3);
    harness.changeMixture(20, MORE_TEXT, 4);
    harness.train(4);
    harness.checkpoint(8);
    harness.stop(false);
    const before = changes();
    const step8 = { checkpoint: { step: 8, directory: '/step-8' }, skipped: [] };
    harness.resume(step8, { settings: ['data.prefetchSteps=5'] });
    expect(config().data).toMatchObject({ prefetchSteps: 5, indexVersion: 1, mixtureChanges: before });
    harness.stop(false);
    // A newer one holds for later changes too.
    harness.resume(step8, { settings: ['data.indexVersion=5'] });
    expect(changes().map(({ fromBatch, indexVersion }) => [fromBatch, indexVersion])).toEqual([
      [5, 2],
      [7, 3],
      [9, 5],
      [20, 5],
    ]);
    harness.train(14);
    expectPlanned();
  });

  it('may not go back to an older version of the index', () => {
    harness.resume(STEP_4, { settings: ['data.indexVersion=2'] });
    harness.train(4);
    harness.checkpoint(8);
    harness.stop(false);
    const step8 = { checkpoint: { step: 8, directory: '/step-8' }, skipped: [] };
    expect(() => harness.resume(step8, { settings: ['data.indexVersion=1'] })).toThrow('reads version 2');
  });
});

describe('any history of a run', () => {
  const event = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('train' as const), steps: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('reweight' as const), ahead: fc.nat(5), text: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('grow' as const), ahead: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'ringBreaks' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'workersAreLost' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'coordinatorIsKilled' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'stopAndResume' as const }) },
  );

  it('leaves a ledger of exactly the planned sequences, with no change lost', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 14 }), (events) => {
        harness = new DecideHarness();
        let [a, b] = ['a0', 'b0'];
        let replaced = 0;
        harness.connect(a, b);
        const weights = { captioned: 4, interleaved: 4, text: 1 };
        harness.launch({ steps: 500, data: { directory: 'data', weights, indexVersion: 1 } });
        harness.train(2);
        harness.checkpoint(2);
        const step2 = { checkpoint: { step: 2, directory: '/step-2' }, skipped: [] };
        let asked: readonly number[] = [];
        for (const each of events) {
          const { step } = harness.view();
          if (each.kind === 'train') harness.train(each.steps);
          else if (each.kind === 'reweight') {
            harness.changeMixture(step + 2 + each.ahead, { captioned: '1', interleaved: '2', text: `${each.text}` });
            asked = [...asked, step + 2 + each.ahead];
          } else if (each.kind === 'grow') {
            const now = Math.max(1, ...changes().map(({ indexVersion }) => indexVersion ?? 1));
            harness.changeMixture(step + 2 + each.ahead, {}, now + 1);
            asked = [...asked, step + 2 + each.ahead];
          } else if (each.kind === 'ringBreaks') harness.breakRing(a);
          else if (each.kind === 'workersAreLost') {
            harness.disconnect(a, b);
            replaced++;
            [a, b] = [`a${replaced}`, `b${replaced}`];
            harness.connect(a, b);
            harness.handle({ kind: 'checkpointFound', runId: RUN, found: step2 });
          } else if (each.kind === 'coordinatorIsKilled') {
            harness.restart('auto');
            harness.handle({ kind: 'checkpointFound', runId: RUN, found: step2 });
            harness.comeBack(a);
            harness.comeBack(b);
          } else {
            harness.stop(false);
            harness.resume(step2);
          }
          // In few ticks, each of which replays the log.
          for (let i = 0; i < 5; i++) {
            harness.nowMs += 6000;
            for (const workerId of [a, b]) harness.hear(workerId);
            harness.handle({ kind: 'tick' });
            harness.listQueue();
          }
          expect(harness.view().status).toBe('running');
          // What the members of the generation know of is what the next step takes.
          const known = harness.lastCommand('assign')?.config.data.mixtureChanges ?? [];
          const until = (all: typeof known) => all.filter(({ fromBatch }) => fromBatch <= harness.view().step + 1);
          expect(until(known)).toEqual(until(changes()));
        }
        harness.train(12);
        expectPlanned();
        expect(changes().map(({ fromBatch }) => fromBatch)).toEqual([...new Set(asked)].toSorted((x, y) => x - y));
      }),
      { numRuns: 30 },
    );
  });
});
