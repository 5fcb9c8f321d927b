import { DEFAULT_SOURCES, perSource } from '@weft/common';
import { batchOfStep, type Range, withRange } from '@weft/topology';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { consumedBy, Ledger, type LedgerRecord, ledgerEntry, MixtureSchedule, skippedData } from './index.js';

const schedule = new MixtureSchedule({ captioned: 4, interleaved: 4, text: 1 });
const globalBatchSize = 5;

const committed = (step: number, generation = 1): LedgerRecord => ({
  kind: 'committed',
  entry: ledgerEntry(schedule, globalBatchSize, {
    step,
    generation,
    digest: `d${step}`,
    loss: 1 / step,
    applied: true,
  }),
});
const steps = (first: number, last: number, generation = 1) =>
  Array.from({ length: last - first + 1 }, (_, i) => committed(first + i, generation));

describe('the ledger', () => {
  it('says what a step consumed, in global sequences and per source', () => {
    const ledger = Ledger.fold(steps(1, 4));
    expect(ledger.entryOf(2)).toEqual({
      step: 2,
      generation: 1,
      firstSequence: 5,
      endSequence: 10,
      ranges: { captioned: { first: 2, end: 5 }, interleaved: { first: 2, end: 4 }, text: { first: 1, end: 1 } },
      digest: 'd2',
      loss: 0.5,
      applied: true,
    });
    expect(ledger.entryOf(5)).toBeUndefined();
    expect(ledger.lastStep).toBe(4);
  });

  it('finds the one step that consumed a sample', () => {
    const ledger = Ledger.fold(steps(1, 30));
    for (let sequence = 0; sequence < 150; sequence++) {
      const { source, indexInSource } = schedule.locate(sequence);
      expect(ledger.entryThatConsumed(source, indexInSource)?.step).toBe(Math.floor(sequence / globalBatchSize) + 1);
    }
    expect(ledger.entryThatConsumed('text', 1000)).toBeUndefined();
  });

  it.each(['art', 'constructor', 'toString', '__proto__'])(
    'knows nothing of the source %s, which the run does not have',
    (source) => {
      const ledger = Ledger.fold(steps(1, 3));
      expect(ledger.entryThatConsumed(source, 0)).toBeUndefined();
      expect(ledger.consumed(source)).toBe(0);
    },
  );

  it('counts the sources of the run, however they are called', () => {
    const own = new MixtureSchedule({ constructor: 2, toString: 1 });
    const entry = (step: number) => ledgerEntry(own, 3, { step, generation: 1, digest: '', loss: 1, applied: true });
    const ledger = Ledger.fold([1, 2].map((step) => ({ kind: 'committed', entry: entry(step) })));
    expect(ledger.problems()).toEqual([]);
    expect(ledger.consumed('constructor')).toBe(4);
    expect(ledger.entryThatConsumed('toString', 1)?.step).toBe(2);
  });

  it('holds every sequence once, as consumed or as skipped, however often the run went back and left out a spike', () => {
    const spikes = fc.array(
      fc.record({ advance: fc.nat(12), spike: fc.integer({ min: 1, max: 4 }), back: fc.nat(15) }),
      {
        maxLength: 8,
      },
    );
    fc.assert(
      fc.property(spikes, (attempts) => {
        const records: LedgerRecord[] = [];
        let skipped: readonly Range[] = [];
        let step = 0;
        const train = (count: number) => {
          for (let i = 0; i < count; i++) {
            const facts = { step: ++step, generation: 1, digest: '', loss: 1, applied: true };
            records.push({ kind: 'committed', entry: ledgerEntry(schedule, globalBatchSize, facts, skipped) });
          }
        };
        for (const { advance, spike, back } of attempts) {
          train(advance + spike);
          const since = step - spike + 1;
          const batches = { first: batchOfStep(since, skipped), end: batchOfStep(step, skipped) + 1 };
          const toStep = Math.max(0, since - 1 - back);
          records.push({ kind: 'rolledBack', toStep, skipped: skippedData(schedule, globalBatchSize, batches) });
          skipped = withRange(skipped, batches);
          step = toStep;
        }
        train(70);
        const ledger = Ledger.fold(records);
        expect(ledger.problems()).toEqual([]);
        const parts = [...ledger.entries, ...ledger.skipped].toSorted((a, b) => a.firstSequence - b.firstSequence);
        let end = 0;
        for (const part of parts) {
          expect(part.firstSequence).toBe(end);
          end = part.endSequence;
        }
        const consumed = consumedBy(schedule, globalBatchSize, step, skipped);
        expect(perSource(DEFAULT_SOURCES, (source) => ledger.consumed(source))).toEqual(consumed);
        for (const { ranges } of ledger.skipped)
          for (const [source, { first, end: last }] of Object.entries(ranges))
            if (last > first) expect(ledger.entryThatConsumed(source, first)).toBeUndefined();
      }),
    );
  });

  it('holds every sequence exactly once, however often the run was rolled back', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ advance: fc.nat(20), back: fc.nat(25) }), { maxLength: 8 }), (attempts) => {
        const records: LedgerRecord[] = [];
        let step = 0;
        for (const [generation, { advance, back }] of attempts.entries()) {
          records.push(...steps(step + 1, step + advance, generation + 1));
          step = Math.max(0, step + advance - back);
          records.push({ kind: 'resumed', fromStep: step });
        }
        const ledger = Ledger.fold(records);
        expect(ledger.lastStep).toBe(step);
        expect(ledger.problems()).toEqual([]);
        expect(perSource(DEFAULT_SOURCES, (source) => ledger.consumed(source))).toEqual(
          schedule.countsBefore(step * globalBatchSize),
        );
      }),
    );
  });

  it('names a step that is missing, repeated, or holds other sequences than its sources', () => {
    expect(Ledger.fold([committed(1), committed(3)]).problems()).toContain('step 3 stands where step 2 belongs');
    expect(Ledger.fold([committed(1), committed(1)]).problems()).toContain('step 1 stands where step 2 belongs');
    const wrong = ledgerEntry(schedule, 6, { step: 2, generation: 1, digest: '', loss: 1, applied: true });
    expect(Ledger.fold([committed(1), { kind: 'committed', entry: wrong }]).problems()).toContain(
      'step 2 starts at sequence 6, where 5 follows',
    );
    const short = { ...wrong, endSequence: 13 };
    expect(Ledger.fold([{ kind: 'committed', entry: short }]).problems()).toContain(
      'step 2 consumed 7 sequences, but its sources sum to 6',
    );
  });

  it('survives JSON, a loss that is not a number included', () => {
    const entry = ledgerEntry(schedule, 9, { step: 1, generation: 2, digest: 'x', loss: Number.NaN, applied: false });
    expect(entry.loss).toBeNull();
    expect(JSON.parse(JSON.stringify(entry))).toEqual(entry);
    for (const source of DEFAULT_SOURCES) expect(entry.ranges[source]?.first).toBe(0);
  });
});
