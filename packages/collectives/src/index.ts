export {
  type CallExpertsOptions,
  DataPlane,
  type HostExpertsOptions,
  type JoinRingOptions,
  type ListenOptions,
} from './data-plane.js';
export type {
  Direction,
  ExchangePrecision,
  ExchangeShape,
  ExchangeStats,
  ExchangeSubject,
  ExpertExchange,
  ExpertHost,
  ExpertRequest,
  ExpertRows,
  NormRequest,
  RowsRequest,
} from './exchange/exchange.js';
export { type InMemoryExchangeOptions, inMemoryExchange } from './exchange/memory-exchange.js';
export { type InMemoryRingOptions, inMemoryRing } from './memory-ring.js';
export type { ProcessGroup } from './process-group.js';
