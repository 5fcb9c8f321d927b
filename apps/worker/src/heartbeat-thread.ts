// The thread of `heartbeatThread`: sends heartbeats while the event loop of the worker is blocked.
import { setInterval } from 'node:timers';
import { workerData } from 'node:worker_threads';
import type { Channel } from '@weft/rpc';
import type { HeartbeatThreadData } from './heartbeat.js';

/** An event loop that is blocked for longer is taken for dead. */
const LONGEST_STANDSTILL_MS = 15 * 60_000;
const DEADLINE_MS = 5000;

const { address, workerId, token, intervalMs, eventLoopTicks } = workerData as HeartbeatThreadData;
/** How often the event loop is looked at within an interval: its silence must not look like a process that is stopped. */
const LOOKS = 4;
/** So many intervals without a heartbeat of the event loop: it is blocked. */
const BLOCKED_INTERVALS = 1.25;
let lastTick = -1;
let movedAtMs = performance.now();
let sentAtMs = 0;
// Opened before it is needed: a machine that is busy would take seconds to load all of it then.
let channel: Promise<Channel> | undefined = open();
channel.catch(() => {});

setInterval(() => {
  const nowMs = performance.now();
  const tick = Atomics.load(eventLoopTicks, 0);
  if (tick !== lastTick) movedAtMs = nowMs;
  lastTick = tick;
  const blockedMs = nowMs - movedAtMs;
  if (blockedMs < BLOCKED_INTERVALS * intervalMs || blockedMs > LONGEST_STANDSTILL_MS) return;
  if (nowMs - sentAtMs < intervalMs) return;
  sentAtMs = nowMs;
  void sendHeartbeat();
}, intervalMs / LOOKS);

/** Failures are ignored: the next heartbeat connects again, and the worker's stream reports a real problem. */
async function sendHeartbeat(): Promise<void> {
  try {
    channel ??= open();
    const { WorkersService } = await import('@weft/proto');
    await (await channel).unary(WorkersService.sendHeartbeat, { workerId, token }, { deadlineMs: DEADLINE_MS });
  } catch {
    (await channel?.catch(() => undefined))?.close();
    channel = undefined;
  }
}

/** Connects with the first heartbeat. */
async function open(): Promise<Channel> {
  const [{ channel }] = await Promise.all([import('@weft/rpc'), import('@weft/proto')]);
  return channel(address);
}
