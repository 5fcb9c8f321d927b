// Writes the checkpoint of `kill-writer.process.test.ts`, shard after shard, and stops before the manifest when told.
import { checkpointDirectory, shardTensors, writeManifest, writeShard } from '@weft/checkpoint';

const [run, stepText, until] = process.argv.slice(2);
const step = Number(stepText);
const directory = checkpointDirectory(run, step);
const worldSize = 3;
const tensors = Array.from({ length: 6 }, (_, index) => ({
  name: `t${index}`,
  shape: [8 << 20],
  data: new Float32Array(8 << 20).fill(step + index),
}));
process.stdout.write('writing\n');
const files = [];
for (let rank = 0; rank < worldSize; rank++) {
  const mine = new Set(shardTensors(tensors, rank, worldSize));
  files.push(await writeShard({ directory, rank, worldSize, tensors: tensors.filter(({ name }) => mine.has(name)) }));
  process.stdout.write(`shard ${rank}\n`);
}
if (until === 'shards') {
  process.stdout.write('all shards\n');
  setInterval(() => {}, 1000);
} else {
  await writeManifest(directory, { runId: 'r', step, nextSequence: step * 8, config: {}, files });
}
