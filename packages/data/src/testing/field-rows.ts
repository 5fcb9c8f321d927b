import type { DatasetSettings, SourceKind } from '@weft/config';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { type FieldFiles, indexField } from './field-data.js';
import { png } from './tiny-dataset.js';

/** One kind of data as people have it, in one variation: what must come of it. */
interface Row {
  readonly name: string;
  readonly files: FieldFiles;
  readonly settings?: Partial<DatasetSettings>;
  /** The documents in order, as `indexField` writes them. */
  readonly documents?: readonly string[];
  /** Names left out, with the reason. */
  readonly leftOut?: Readonly<Record<string, string>>;
  readonly refused?: RegExp;
}

/** Two pictures. */
export const image = await png([200, 30, 30]);
export const other = await png([30, 30, 200], 12, 9);

/** Indexes every row, each in a folder of its own. */
export function rows(title: string, kind: SourceKind, cases: readonly Row[]): void {
  describe(title, () => {
    it.each(cases)('$name', async ({ files, settings, documents, leftOut, refused }) => {
      await using folder = await temporaryDirectory();
      const indexing = indexField(folder.path, kind, files, settings);
      if (refused !== undefined) {
        await expect(indexing).rejects.toThrow(refused);
        await expect(indexing).rejects.toMatchObject({ code: 'corrupt_data', hint: expect.any(String) });
        return;
      }
      const found = await indexing;
      expect(found.documents).toEqual(documents);
      if (leftOut !== undefined) expect(found.leftOut).toMatchObject(leftOut);
    });
  });
}

export const json = (value: unknown) => JSON.stringify(value);
