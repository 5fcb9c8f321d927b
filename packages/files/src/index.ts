export {
  buildDirectory,
  makeDirectory,
  syncDirectory,
  withTemporaryDirectory,
  writeFileAtomically,
} from './atomic-file.js';
export {
  type AppendableStore,
  type Blob,
  type BlobAppender,
  type BlobStore,
  blobChunks,
  readText,
  withBlob,
} from './blob-store.js';
export {
  type CoordinatorFile,
  readCoordinatorFile,
  removeCoordinatorFile,
  writeCoordinatorFile,
} from './coordinator-file.js';
export { diskStore } from './disk-store.js';
export { Home, shortPath } from './home.js';
export { readJsonFile, writeJsonFile } from './json-file.js';
export { type MemoryWatch, watchMemory } from './memory-kills.js';
export { isProcessAlive, startTicks } from './process-identity.js';
export { ProcessLock } from './process-lock.js';
export { fileBytes, isMissing, readBefore, readExactly, sha256OfFile } from './read-bytes.js';
export { isRemote, joinPath } from './remote-path.js';
export {
  type BlobRange,
  type BlobReader,
  type BlobStatus,
  diskShards,
  type ListedBlob,
  type ShardStore,
  withKnown,
} from './shard-store.js';
