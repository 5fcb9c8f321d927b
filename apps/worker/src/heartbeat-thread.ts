// The thread of `heartbeatThread`: sends heartbeats while the event loop of the worker is blocked.
import { setInterval } from 'node:timers';
import { workerData } from 'node:worker_threads';
import type { Channel } from '@weft/rpc';
import type { HeartbeatThreadData } from './heartbeat.js';

/** An event loop that is blocked for longer is taken for dead. */
const LONGEST_STANDSTILL_MS = 15 * 60_000;
/** A heartbeat that did not arrive within this time is sent again. */
const DEADLINE_MS = 1000;

const { address, workerId, token, intervalMs, eventLoopTicks } = workerData as HeartbeatThreadData;
/** How often the event loop is looked at within an interval: its silence must not look like a process that is stopped. */
const LOOKS = 8;
/** So many intervals without a heartbeat of the event loop: it is blocked. */
const BLOCKED_INTERVALS = 1.125;
let lastTick = -1;
let movedAtMs = performance.now();
let sentAtMs = -Infinity;
let isSending = false;
let channel: Promise<Channel> | undefined;

// One at once, so that the connection is there before it is needed: a machine that is busy would take seconds then.
void sendHeartbeat();
setInterval(() => {
  const nowMs = performance.now();
  const tick = Atomics.load(eventLoopTicks, 0);
  if (tick !== lastTick) movedAtMs = nowMs;
  lastTick = tick;
  const blockedMs = nowMs - movedAtMs;
  if (blockedMs < BLOCKED_INTERVALS * intervalMs || blockedMs > LONGEST_STANDSTILL_MS) return;
  if (isSending || nowMs - sentAtMs < intervalMs) return;
  void sendHeartbeat();
}, intervalMs / LOOKS);

/** Failures are ignored: the next look connects again, and the worker's stream reports a real problem. */
async function sendHeartbeat(): Promise<void> {
  isSending = true;
  try {
    sentAtMs = performance.now();
    channel ??= open();
    const { WorkersService } = await import('@weft/proto');
    await (await channel).unary(WorkersService.sendHeartbeat, { workerId, token }, { deadlineMs: DEADLINE_MS });
  } catch {
    (await channel?.catch(() => undefined))?.close();
    channel = undefined;
    sentAtMs = -Infinity;
  } finally {
    isSending = false;
  }
}

/** Connects with the first heartbeat. */
async function open(): Promise<Channel> {
  const [{ channel }] = await Promise.all([import('@weft/rpc'), import('@weft/proto')]);
  return channel(address);
}
