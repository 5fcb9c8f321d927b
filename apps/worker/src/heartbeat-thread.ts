// The second chamber of `heartbeatThread`: runs in a thread of its own and beats for an event loop that is too busy to.
import { setInterval } from 'node:timers';
import { workerData } from 'node:worker_threads';
import type { Channel } from '@weft/rpc';
import type { HeartbeatThreadData } from './heartbeat.js';

/** An event loop that stands still for so long will not move again: nobody should wait for it. */
const LONGEST_STANDSTILL_MS = 15 * 60_000;
const DEADLINE_MS = 5000;

const { address, workerId, intervalMs, eventLoopTicks: pulse } = workerData as HeartbeatThreadData;
let lastPulse = -1;
let movedAtMs = performance.now();
let channel: Promise<Channel> | undefined;

setInterval(() => {
  const now = Atomics.load(pulse, 0);
  const hasMoved = now !== lastPulse;
  lastPulse = now;
  if (hasMoved) movedAtMs = performance.now();
  else if (performance.now() - movedAtMs < LONGEST_STANDSTILL_MS) void beat();
}, intervalMs);

/** A beat that fails is not missed alone: the next one tries again, and the stream tells what is wrong. */
async function beat(): Promise<void> {
  try {
    channel ??= open();
    const { WorkersService } = await import('@weft/proto');
    await (await channel).unary(WorkersService.sendHeartbeat, { workerId }, { deadlineMs: DEADLINE_MS });
  } catch {
    (await channel?.catch(() => undefined))?.close();
    channel = undefined;
  }
}

/** Loaded late: most workers never need it. */
async function open(): Promise<Channel> {
  return (await import('@weft/rpc')).channel(address);
}
