export { parseAddress } from './address.js';
export { remoteCounts, shardStore } from './shard-store.js';
