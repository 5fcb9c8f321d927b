import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tarOf } from './tar.js';

test('an archive unpacks to the same files, and is the same whenever it is made', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-tar-'));
  try {
    for (const name of ['from/a', 'to']) mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, 'from/a/text'), 'x'.repeat(1000));
    writeFileSync(join(folder, 'from/run'), '');
    chmodSync(join(folder, 'from/run'), 0o755);
    const archive = await tarOf(join(folder, 'from'), 'kit');
    writeFileSync(join(folder, 'from/a/text'), 'x'.repeat(1000));
    expect((await tarOf(join(folder, 'from'), 'kit')).equals(archive)).toBe(true);
    writeFileSync(join(folder, 'kit.tar'), archive);
    expect(spawnSync('tar', ['xf', join(folder, 'kit.tar'), '-C', join(folder, 'to')]).status).toBe(0);
    expect(readFileSync(join(folder, 'to/kit/a/text'), 'utf8')).toBe('x'.repeat(1000));
    expect(statSync(join(folder, 'to/kit/run')).mode & 0o111).toBe(0o111);
    expect(statSync(join(folder, 'to/kit/a/text')).mode & 0o111).toBe(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
