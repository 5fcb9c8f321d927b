import type { BlobStore } from '@weft/files';
import { expect, it } from 'vitest';
import { PARQUET } from '../testing/field-data.js';
import { parquetRecords } from './parquet.js';

it('a column that claims more bytes than may be read is refused before memory is taken', async () => {
  const whole = Buffer.from(PARQUET, 'base64');
  // total_compressed_size of the column, 76 as a zigzag varint, becomes 2^40.
  const at = whole.indexOf(Buffer.from('169001169801', 'hex'));
  const claimed = Buffer.concat([Buffer.from('16900116', 'hex'), Buffer.from('808080808040', 'hex')]);
  const changed = Buffer.concat([whole.subarray(0, at), claimed, whole.subarray(at + 6)]);
  changed.writeUInt32LE(changed.readUInt32LE(changed.length - 8) + claimed.length - 6, changed.length - 8);
  // The file is as long as it claims: all between its beginning and its end is nothing.
  const bytes = 2 ** 41;
  const store: Pick<BlobStore, 'open'> = {
    open: async () => ({
      bytes,
      read: async (into, offset) => {
        const from = changed.length - (bytes - offset);
        into.fill(0);
        if (from >= 0) into.set(changed.subarray(from, from + into.length));
        else if (from + into.length > 0) into.set(changed.subarray(0, from + into.length), -from);
      },
      close: async () => undefined,
    }),
  };
  const records = parquetRecords('a.parquet', undefined, store as BlobStore);
  const { value } = await records.next();
  expect(value).toMatchObject({
    key: 'row group 1',
    problem: {
      code: 'corrupt_data',
      message: 'a.parquet is no Parquet file that can be read: a part of it claims 1099511627776 bytes',
    },
  });
  expect(await records.next()).toMatchObject({ done: true });
});
