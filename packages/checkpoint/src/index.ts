export type { Manifest } from './manifest.js';
export {
  CheckpointReader,
  checkManifest,
  manifestSha256,
  readManifest,
  readTensors,
  verifyCheckpoint,
} from './read-checkpoint.js';
export {
  checkpointDirectory,
  checkpointsFolder,
  newestCheckpoint,
  pruneCheckpoints,
  stepDirectories,
} from './run-checkpoints.js';
export type { NamedTensor } from './safetensors-file.js';
export type { TensorEntry } from './safetensors-header.js';
export { shardName, shardTensors, writeShard } from './shards.js';
export { type StreamedTensor, WeightsFile, writeWeightsFile } from './weights-file.js';
export { writeManifest } from './write-manifest.js';
