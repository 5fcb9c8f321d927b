export { checkpointDirectory, checkpointsFolder, stepDirectories } from './directories.js';
export type { Manifest } from './manifest.js';
export { newestCheckpoint } from './newest-checkpoint.js';
export { pruneCheckpoints } from './prune-checkpoints.js';
export { manifestSha256, readManifest, readTensors, verifyCheckpoint } from './read-checkpoint.js';
export type { NamedTensor } from './safetensors-file.js';
export { shardTensors, writeShard } from './shards.js';
export { writeManifest } from './write-manifest.js';
