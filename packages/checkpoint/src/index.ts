export type { Manifest } from './manifest.js';
export { manifestSha256, readManifest, readTensors, verifyCheckpoint } from './read-checkpoint.js';
export {
  checkpointDirectory,
  checkpointsFolder,
  newestCheckpoint,
  pruneCheckpoints,
  stepDirectories,
} from './run-checkpoints.js';
export type { NamedTensor } from './safetensors-file.js';
export { shardTensors, writeShard } from './shards.js';
export { writeManifest } from './write-manifest.js';
