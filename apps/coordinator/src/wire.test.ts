import { Role } from '@weft/proto';
import { expect, it } from 'vitest';
import { identityFromHello } from './wire.js';

it("a worker's identity has the backends with bf16 that this version knows, and its memory", () => {
  const place = { workerId: 'w1', hostName: 'host', processId: 1, dataPlaneAddress: 'host:1', device: 'cpu' };
  const memory = { hostBytes: 64e9, devices: 8, deviceBytes: 80e9 };
  const hello = {
    ...place,
    metricsAddress: 'host:2',
    role: Role.ROLE_EXPERT_WORKER,
    version: '',
    bf16Backends: ['tensorflow', 'other', 'auto'],
    memory,
    held: undefined,
    peak: { bf16: 2e12, fp32: 1e12 },
  };
  expect(identityFromHello(hello)).toEqual({
    ...place,
    metricsAddress: 'host:2',
    role: 'expertWorker',
    bf16Backends: ['auto', 'tensorflow'],
    memory,
    peak: { bf16: 2e12, fp32: 1e12 },
  });
});
