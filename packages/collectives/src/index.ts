export { DataPlane } from './data-plane.js';
export type {
  DevicesOutcome,
  ExchangeDevices,
  ExchangeShape,
  ExchangeSubject,
  ExpertExchange,
  ExpertHost,
  ExpertRequest,
  NormRequest,
  RowsRequest,
} from './experts/exchange.js';
export { inMemoryExchange } from './experts/in-memory-exchange.js';
export type { WorkerLink, WorkerLinks } from './experts/worker-links.js';
export { Communicators } from './nccl/communicators.js';
export { type DeviceGroup, type DeviceSum, openDeviceGroup } from './nccl/device-group.js';
export { findNccl } from './nccl/find-library.js';
export { NcclLibrary } from './nccl/library.js';
export { inMemoryRing } from './ring/in-memory-ring.js';
export type { ProcessGroup } from './ring/process-group.js';
export type { StateShare } from './state/transfer.js';
