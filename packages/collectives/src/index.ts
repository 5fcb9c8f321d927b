export { DataPlane, type JoinRingOptions, type ListenOptions } from './data-plane.js';
export { type InMemoryRingOptions, inMemoryRing } from './memory-ring.js';
export type { ProcessGroup } from './process-group.js';
