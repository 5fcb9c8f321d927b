export { checkpointDirectory, checkpointsFolder, type StepDirectory, stepDirectories } from './directories.js';
export type { CheckpointTensor, Manifest } from './manifest.js';
export { type NewestCheckpoint, newestCheckpoint } from './newest-checkpoint.js';
export { pruneCheckpoints } from './prune-checkpoints.js';
export { manifestSha256, readManifest, readTensors, verifyCheckpoint } from './read-checkpoint.js';
export type { NamedTensor } from './safetensors-file.js';
export { shardTensors, type WriteShardOptions, writeShard } from './shards.js';
export { type ManifestDraft, newestManifestSha256, writeManifest } from './write-manifest.js';
