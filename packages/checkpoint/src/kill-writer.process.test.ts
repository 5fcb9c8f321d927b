import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { checkpointDirectory, newestCheckpoint } from './index.js';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let run: string;

beforeAll(async () => {
  // The writers run the compiled package.
  execFileSync(process.execPath, [at('../../../node_modules/typescript/bin/tsc'), '-b', at('..')]);
  run = await mkdtemp(join(tmpdir(), 'weft-kill-writer-'));
});
afterAll(() => rm(run, { recursive: true }));

/**
 * Runs a writer to its end, or kills it with -9 some time after it printed a line. That one stops before the manifest by
 * itself, so that no kill comes too late.
 */
async function write(step: number, killAfter?: { readonly line: string; readonly delayMs: number }): Promise<void> {
  const until = killAfter === undefined ? 'manifest' : 'shards';
  const child = spawn(process.execPath, [at('./kill-writer.process.child.mjs'), run, String(step), until], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  createInterface(child.stdout).on('line', (line) => {
    if (line === killAfter?.line) setTimeout(() => child.kill('SIGKILL'), killAfter.delayMs);
  });
  expect(await exited).toBe(killAfter === undefined ? 0 : null);
}

it('kill -9 at any moment before the manifest leaves no checkpoint behind, and the one before usable', async () => {
  await write(20);
  const moments = [
    { line: 'writing', delayMs: 0 },
    { line: 'writing', delayMs: 30 },
    { line: 'shard 0', delayMs: 20 },
    { line: 'all shards', delayMs: 0 },
  ];
  for (const moment of moments) {
    await write(40, moment);
    const { checkpoint, skipped } = await newestCheckpoint(run);
    expect(checkpoint?.manifest.step).toBe(20);
    for (const { reason } of skipped) expect(reason).toContain('is not a checkpoint: it has no manifest.json');
  }
  await write(40);
  expect((await newestCheckpoint(run)).checkpoint?.manifest.step).toBe(40);
  const names = await readdir(checkpointDirectory(run, 40));
  expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([]);
});
