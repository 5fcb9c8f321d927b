import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RunRows } from '@weft/client';
import { exampleRun, exampleStep, temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { EXPORT_FORMATS } from './formats.js';

const PYTHON = process.env.WEFT_TENSORBOARD_PYTHON ?? process.env.PYTHON ?? 'python3';
const hasTensorBoard = spawnSync(PYTHON, ['-c', 'import tensorboard']).status === 0;
if (!hasTensorBoard)
  console.log(`skipped: ${PYTHON} lacks tensorboard (set WEFT_TENSORBOARD_PYTHON to one that has it)`);

const SCRIPT = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0, 'tensors': 0})
events.Reload()
print(json.dumps({
    'scalars': {tag: [[e.step, e.wall_time, e.value] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']},
    'config': events.Tensors('config')[0].tensor_proto.string_val[0].decode(),
    'plugin': events.SummaryMetadata('config').plugin_data.plugin_name,
}))
`;

it.skipIf(!hasTensorBoard)("TensorBoard's own reader finds every value of every curve", async () => {
  await using folder = await temporaryDirectory();
  const rows = Array.from({ length: 50 }, (_, at) =>
    exampleStep(at + 1, { heldOut: { loss: at, sources: { text: at / 3 }, seconds: 1 } }),
  );
  await writeFile(join(folder.path, 'metrics.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const run = exampleRun({ directory: folder.path });
  const path = join(folder.path, 'exported');
  await EXPORT_FORMATS.tensorboard.write(path, { run, rows: await RunRows.open(run), config: { steps: 50 } });
  const { stdout, stderr, status } = spawnSync(PYTHON, ['-c', SCRIPT, path], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  const { scalars, config, plugin } = JSON.parse(stdout);
  const values = (read: (row: (typeof rows)[number]) => number | null) =>
    rows.map((row) => [row.step, Date.parse(row.time) / 1000, Math.fround(read(row) ?? Number.NaN)]);
  expect(scalars.loss).toEqual(values((row) => row.loss));
  expect(scalars['heldOut/text']).toEqual(values((row) => row.heldOut?.sources.text ?? null));
  expect(scalars['sequences/captioned']).toEqual(values((row) => row.sequences.captioned ?? null));
  expect([config, plugin]).toEqual(['```json\n{\n  "steps": 50\n}\n```', 'text']);
});
