import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkpointDirectory, checkpointsFolder, writeManifest, writeShard } from '@weft/checkpoint';
import { Home } from '@weft/files';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { type Range, stepSequences } from '@weft/topology';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunFiles } from './run-files.js';

const RUN = 'tiny-1';
/** The run went back to step 2, and leaves out what steps 5 to 8 had consumed. */
const skipped = [{ first: 5, end: 9 }];

let directory: TemporaryDirectory;
let files: RunFiles;
beforeEach(async () => {
  directory = await temporaryDirectory();
  const home = new Home(directory.path);
  await mkdir(home.runDirectory(RUN), { recursive: true });
  files = new RunFiles(home, {} as never, RUN);
});
afterEach(() => directory.remove());

async function save(step: number, skippedBatches: readonly Range[]): Promise<void> {
  const folder = checkpointDirectory(files.directory, step);
  const tensors = [{ name: 'weights', shape: [1], data: Float32Array.of(step) }];
  const shard = await writeShard({ directory: folder, rank: 0, worldSize: 1, tensors });
  const { first: nextSequence } = stepSequences(step + 1, 9, skippedBatches);
  await writeManifest(folder, { runId: RUN, step, nextSequence, config: { data: { skippedBatches } }, files: [shard] });
}

const find = (notAfterStep: number, skippedBatches: readonly Range[]) =>
  files.findCheckpoint({ notAfterStep, unhealthy: undefined, skippedBatches, known: [] });

describe('the checkpoint that a run goes on from', () => {
  it('is none whose manifest was written late, after the run had gone back and left out the data of its steps', async () => {
    await save(2, []);
    await save(8, []);
    const found = await find(10, skipped);
    expect(found.checkpoint).toEqual({ step: 2, directory: checkpointDirectory(files.directory, 2) });
    expect(found.skipped).toMatchObject([{ reason: expect.stringMatching(/^it is of steps that were rolled back/) }]);
    // It is not found again, also where nobody compares histories.
    const names = await readdir(join(checkpointsFolder(files.directory)));
    expect(names).toContain('step-00000002');
    expect(names).not.toContain('step-00000008');
  });

  it('may be one of before the data that are left out, also just before them, and one that was trained without them', async () => {
    await save(4, []);
    expect((await find(10, skipped)).checkpoint?.step).toBe(4);
    await save(8, skipped);
    expect((await find(10, skipped)).checkpoint?.step).toBe(8);
    expect((await find(6, skipped)).checkpoint?.step).toBe(4);
  });
});
