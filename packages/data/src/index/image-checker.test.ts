import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { diskShards } from '@weft/files';
import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { png } from '../testing/tiny-dataset.js';
import { ImageChecker } from './image-checker.js';

const documentOf = (bytes: number) => ({
  key: 'sample',
  parts: [{ kind: 'image' as const, image: { shard: 0, offset: 0, bytes, view: 0 }, name: 'a.png' }],
});

it('an image that cannot be decoded makes a bad sample, and one that cannot be read now an error', async () => {
  await using folder = await temporaryDirectory();
  const content = await png([1, 2, 3]);
  await writeFile(join(folder.path, 'a.png'), content);
  let isAway = false;
  const store = {
    ...diskShards,
    open: async (path: string) => {
      const blob = await diskShards.open(path);
      const read: typeof blob.read = async (into, position) => {
        if (isAway) throw new WeftError('unavailable', 'the store does not answer');
        await blob.read(into, position);
      };
      return { ...blob, bytes: blob.bytes, read, close: () => blob.close() };
    },
  };
  const checker = new ImageChecker(folder.path, ['a.png'], 'captioned', store);
  const whole = documentOf(content.length);
  expect(await checker.check(whole)).toBe(whole);
  expect(await checker.check(documentOf(content.length - 20))).toMatchObject({
    key: 'sample',
    problem: { code: 'corrupt_data', message: expect.stringContaining('cannot be decoded') as string },
  });
  expect(await checker.check(documentOf(content.length + 1))).toMatchObject({ problem: { code: 'corrupt_data' } });
  isAway = true;
  await expect(checker.check(whole)).rejects.toThrow('the store does not answer');
  checker.closeShards();
});
