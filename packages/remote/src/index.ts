export { parseAddress } from './address.js';
export type { RemoteCounts } from './remote-store.js';
export { remoteCounts, shardStore } from './shard-store.js';
