export { DataPlane } from './data-plane.js';
export type {
  ExchangeShape,
  ExchangeSubject,
  ExpertExchange,
  ExpertHost,
  ExpertRequest,
  NormRequest,
  RowsRequest,
} from './experts/exchange.js';
export { inMemoryExchange } from './experts/in-memory-exchange.js';
export { inMemoryRing } from './ring/in-memory-ring.js';
export type { ProcessGroup } from './ring/process-group.js';
