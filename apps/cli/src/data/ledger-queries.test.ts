import { ledgerRecords } from '@weft/coordination';
import { Ledger, RunSequences, scheduleOf } from '@weft/mixture';
import { RunLog } from '@weft/testing';
import { expect, it } from 'vitest';
import { findConsumptions } from './ledger-queries.js';

const { records, config } = new RunLog().committed(1, 40);
const ledger = Ledger.fold(ledgerRecords(records));
/** Small, so that the run passes over every source several times. */
const sizes = { captioned: 50, interleaved: 40, text: 7 };
const sequences = new RunSequences({
  schedule: scheduleOf(config),
  versions: [{ sequences: sizes }],
  seed: config.seed,
});

it('the two questions agree: a step consumed exactly the sequences that were consumed in it', () => {
  let consumed = 0;
  for (const [source, size] of Object.entries(sizes))
    for (let index = 0; index < size; index++)
      for (const { step, epoch } of findConsumptions(ledger, { source, index }, { sequences })) {
        const range = ledger.entryOf(step)?.ranges[source] ?? { first: 0, end: 0 };
        expect(sequences.ofSource(source, range)).toContainEqual({ epoch, sequence: index });
        expect(epoch).toBeLessThan(6);
        consumed++;
      }
  expect(consumed).toBe(40 * config.globalBatchSize);
});
