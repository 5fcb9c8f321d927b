import { mapSources, type PerSource } from '@weft/common';
import { type Range, rankSlice, stepSequences } from '@weft/topology';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { consumedBy, Ledger, type LedgerRecord, ledgerEntry, RunSequences, scheduleOf } from './index.js';

/** Up to three sources with up to three datasets each. */
interface Data {
  readonly weights: PerSource<number>;
  readonly datasets: PerSource<{ readonly source: string | null }>;
  /** Of each version of the index. */
  readonly versions: readonly { readonly sequences: PerSource<number> }[];
}

type Change = { readonly fromBatch: number; readonly weights: PerSource<number>; readonly indexVersion: number };

type Happening =
  | { readonly kind: 'train'; readonly steps: number; readonly workers: number }
  /** The processes are gone; the run goes on from a step before. */
  | { readonly kind: 'kill'; readonly back: number }
  | { readonly kind: 'reweight'; readonly after: number; readonly weights: readonly number[] }
  | { readonly kind: 'grow'; readonly after: number };

const data: fc.Arbitrary<Data> = fc
  .array(
    fc.array(
      fc.record({
        weight: fc.nat(9),
        size: fc.integer({ min: 3, max: 30 }),
        growth: fc.array(fc.nat(12), { minLength: 3, maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    { minLength: 1, maxLength: 3 },
  )
  .filter((groups) => groups.flat().some(({ weight }) => weight > 0))
  .map((groups) => {
    const named = groups.flatMap((group, g) =>
      group.map((each, i) => ({ ...each, name: `d${g}-${i}`, group: `s${g}` })),
    );
    const of = <T>(value: (each: (typeof named)[number]) => T) =>
      Object.fromEntries(named.map((each) => [each.name, value(each)]));
    return {
      weights: of(({ weight }) => weight),
      datasets: of(({ group }) => ({ source: group })),
      versions: [0, 1, 2, 3].map((version) => ({
        sequences: of(({ size, growth }) => growth.slice(0, version).reduce((sum, by) => sum + by, size)),
      })),
    };
  });

const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({
    kind: fc.constant('train' as const),
    steps: fc.integer({ min: 1, max: 12 }),
    workers: fc.integer({ min: 1, max: 5 }),
  }),
  fc.record({ kind: fc.constant('kill' as const), back: fc.nat(10) }),
  fc.record({
    kind: fc.constant('reweight' as const),
    after: fc.nat(6),
    weights: fc.array(fc.nat(9), { minLength: 9, maxLength: 9 }),
  }),
  fc.record({ kind: fc.constant('grow' as const), after: fc.nat(6) }),
);

const GLOBAL_BATCH_SIZE = 7;
const SEED = 11;
const HELD_OUT = 2;

/** A run on any number of workers that are killed, restarted and told of changes: it keeps nothing but its log. */
class Run {
  readonly #data: Data;
  readonly records: LedgerRecord[] = [];
  changes: readonly Change[] = [];
  step = 0;
  /** What each step took, by its ranks in order. */
  readonly taken = new Map<number, readonly string[]>();

  constructor(of: Data) {
    this.#data = of;
  }

  apply(event: Happening): void {
    if (event.kind === 'train') this.#train(event.steps, event.workers);
    else if (event.kind === 'kill') {
      this.step = Math.max(0, this.step - event.back);
      this.records.push({ kind: 'resumed', fromStep: this.step });
    } else {
      const fromBatch = this.step + 1 + event.after;
      const now = this.changes.findLast((change) => change.fromBatch <= fromBatch);
      const names = Object.keys(this.#data.weights);
      const asked =
        event.kind === 'reweight' ? Object.fromEntries(names.map((name, i) => [name, event.weights[i] ?? 0])) : {};
      const isUseful = Object.values(asked).some((weight) => weight > 0);
      const newest = Math.max(1, ...this.changes.map(({ indexVersion }) => indexVersion));
      const indexVersion = event.kind === 'grow' ? Math.min(newest + 1, 4) : (now?.indexVersion ?? 1);
      const weights = isUseful ? asked : (now?.weights ?? this.#data.weights);
      const later = this.changes.filter((change) => change.fromBatch > fromBatch);
      this.changes = [
        ...this.changes.filter((change) => change.fromBatch < fromBatch),
        { fromBatch, weights, indexVersion },
        ...later.map((change) => ({ ...change, indexVersion: Math.max(change.indexVersion, indexVersion) })),
      ];
    }
  }

  /** As a process that has just started knows it. */
  get config() {
    const { weights, datasets } = this.#data;
    return {
      globalBatchSize: GLOBAL_BATCH_SIZE,
      data: { weights, datasets, indexVersion: 1, mixtureChanges: this.changes },
    };
  }

  open(): RunSequences {
    const { versions } = this.#data;
    return new RunSequences({ schedule: scheduleOf(this.config), versions, seed: SEED, heldOutPerSource: HELD_OUT });
  }

  #train(steps: number, workers: number): void {
    const ranks = Array.from({ length: workers }, () => this.open());
    for (const end = this.step + steps; this.step < end; ) {
      const step = ++this.step;
      const all = stepSequences(step, GLOBAL_BATCH_SIZE);
      this.taken.set(
        step,
        ranks.flatMap((rank, number) => namesOf(rank, rankSlice(all.first, all.end, number, workers))),
      );
      const facts = { step, generation: 1, digest: '', loss: 1, applied: true };
      this.records.push({ kind: 'committed', entry: ledgerEntry(ranks[0]!.schedule, GLOBAL_BATCH_SIZE, facts) });
    }
  }
}

function namesOf(sequences: RunSequences, { first, end }: Range): string[] {
  return Array.from({ length: end - first }, (_, at) => {
    const { source, epoch, sequence, indexVersion } = sequences.at(first + at);
    return `${source} ${epoch} ${sequence} v${indexVersion}`;
  });
}

describe('a run over its whole history', () => {
  const histories = fc.record({ of: data, events: fc.array(happening, { maxLength: 14 }) });

  it('takes what a run that knew all changes from its beginning takes, whatever happened to it', () => {
    fc.assert(
      fc.property(histories, ({ of, events }) => {
        const run = new Run(of);
        for (const event of [...events, { kind: 'train', steps: 20, workers: 3 } as const]) run.apply(event);
        const ledger = Ledger.fold(run.records);
        expect(ledger.problems()).toEqual([]);
        expect(ledger.lastStep).toBe(run.step);
        const undisturbed = run.open();
        for (let step = 1; step <= run.step; step++)
          expect(run.taken.get(step), `step ${step}`).toEqual(
            namesOf(undisturbed, stepSequences(step, GLOBAL_BATCH_SIZE)),
          );
        const consumed = consumedBy(undisturbed.schedule, GLOBAL_BATCH_SIZE, run.step);
        expect(mapSources(of.weights, (_, source) => ledger.consumed(source))).toEqual(consumed);
      }),
      { numRuns: 150 },
    );
  });

  it('takes every sequence once in every epoch, those that are held out never, and those that were added from then on', () => {
    fc.assert(
      fc.property(histories, ({ of, events }) => {
        const run = new Run(of);
        for (const event of [...events, { kind: 'train', steps: 40, workers: 2 } as const]) run.apply(event);
        const sequences = run.open();
        const held = HELD_OUT;
        const taken = new Map<string, number[]>();
        for (let at = 0; at < run.step * GLOBAL_BATCH_SIZE; at++) {
          const { source, epoch, sequence, indexVersion } = sequences.at(at);
          expect(sequences.isHeldOut(source, sequence)).toBe(false);
          expect(sequence).toBeLessThan(of.versions[indexVersion - 1]!.sequences[source]!);
          const key = `${source} ${epoch}`;
          taken.set(key, [...(taken.get(key) ?? []), sequence]);
        }
        for (const [key, all] of taken) {
          expect(new Set(all).size, key).toBe(all.length);
          const [source = '', epoch] = key.split(' ');
          // An epoch is over where there is a next one, and has then visited all that its last version holds.
          if (!taken.has(`${source} ${Number(epoch) + 1}`)) continue;
          const sizes = of.versions.map((version) => version.sequences[source]! - held);
          expect(sizes).toContain(all.length);
        }
      }),
      { numRuns: 80 },
    );
  });

  it('keeps every source within one sequence of its share of the run, and every dataset of its share of its source', () => {
    fc.assert(
      fc.property(histories, ({ of, events }) => {
        const run = new Run(of);
        for (const event of [...events, { kind: 'train', steps: 20, workers: 1 } as const]) run.apply(event);
        const { schedule } = run.open();
        const behind: Record<string, number> = {};
        let greatest = 0;
        const add = (name: string, by: number) => {
          behind[name] = (behind[name] ?? 0) + by;
        };
        for (let at = 0; at < run.step * GLOBAL_BATCH_SIZE; at++) {
          const { weights } = schedule.stretchAt(at);
          const groupOf = (name: string) => of.datasets[name]?.source ?? name;
          const { source } = schedule.locate(at);
          const taking = groupOf(source);
          const inGroup = Object.entries(weights).filter(([name]) => groupOf(name) === taking);
          for (const [name, weight] of Object.entries(weights))
            add(groupOf(name), weight / sum(Object.values(weights)));
          for (const [name, weight] of inGroup) add(name, weight / sum(inGroup.map(([, each]) => each)));
          add(taking, -1);
          add(source, -1);
          for (const each of Object.values(behind)) greatest = Math.max(greatest, Math.abs(each));
        }
        expect(greatest).toBeLessThan(1 + 1e-6);
      }),
      { numRuns: 150 },
    );
  });

  it('tells when it takes a sequence: the same from both sides', () => {
    fc.assert(
      fc.property(histories, ({ of, events }) => {
        const run = new Run(of);
        for (const event of [...events, { kind: 'train', steps: 10, workers: 1 } as const]) run.apply(event);
        const sequences = run.open();
        const end = run.step * GLOBAL_BATCH_SIZE;
        const ends = sequences.schedule.countsBefore(end);
        let found = 0;
        for (const [source, last] of Object.entries(ends)) {
          if (last === 0) continue;
          for (let sequence = 0; sequence < sequences.sizeOf(source); sequence++)
            for (const { epoch, indexInSource } of sequences.takenAt(source, sequence, last)) {
              expect(sequences.order(source).at(indexInSource)).toEqual({ epoch, sequence });
              found++;
            }
        }
        expect(found).toBe(end);
      }),
      { numRuns: 60 },
    );
  });

  it('is refused where the index lacks a version that it takes', () => {
    const schedule = scheduleOf({
      globalBatchSize: 2,
      data: {
        weights: { text: 1 },
        indexVersion: 1,
        mixtureChanges: [{ fromBatch: 4, weights: { text: 1 }, indexVersion: 3 }],
      },
    });
    expect(() => new RunSequences({ schedule, versions: [{ sequences: { text: 5 } }], seed: 1 })).toThrow(
      'version 3 of the data index from sequence 6 on, but the index has one version',
    );
  });
});

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
