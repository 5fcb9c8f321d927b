import { assertNever } from '@weft/common';
import type { SimulatedCluster } from './simulated-cluster.js';
import type { SimulatedRun } from './simulated-worker.js';

/** Something that happens in a simulated cluster. `worker` and `run` are indexes; one that does not exist is ignored. */
export type SimulationEvent =
  | {
      readonly kind:
        | 'receive'
        | 'compute'
        | 'deliver'
        | 'hang'
        | 'leave'
        | 'cutOff'
        | 'breakRing'
        | 'fail'
        | 'failDevice';
      readonly worker: number;
    }
  | { readonly kind: 'kill'; readonly worker: number; readonly flush: boolean }
  | {
      readonly kind:
        | 'round'
        | 'spawnWorker'
        | 'restartCoordinator'
        | 'replaceCoordinator'
        | 'reconnect'
        | 'pauseQueue'
        | 'resumeQueue';
    }
  | { readonly kind: 'advance'; readonly durationMs: number }
  | { readonly kind: 'launch'; readonly workers: number; readonly steps: number; readonly priority: number }
  | RunEvent;

/** What happens to one run. */
type RunEvent =
  | { readonly kind: 'stop'; readonly run: number; readonly saveCheckpoint: boolean }
  | { readonly kind: 'resume' | 'damageCheckpoint' | 'pauseJob' | 'resumeJob' | 'cancel'; readonly run: number }
  | { readonly kind: 'move'; readonly run: number; readonly priority: number };

const MAX_RUNS = 4;

/** @throws AssertionError when an invariant of the queue does not hold afterwards. */
export function applyEvent(cluster: SimulatedCluster, event: SimulationEvent): void {
  const worker = 'worker' in event ? cluster.workers[event.worker] : undefined;
  const run = 'run' in event ? cluster.runs[event.run] : undefined;
  const isAwake = worker?.isHanging === false;
  switch (event.kind) {
    case 'receive':
      if (isAwake) worker.receive();
      break;
    case 'compute':
      if (isAwake) worker.compute();
      break;
    case 'deliver':
      cluster.deliver(event.worker);
      break;
    case 'hang':
      if (worker !== undefined) worker.isHanging = true;
      break;
    case 'cutOff':
      cluster.cutOffWorker(event.worker);
      break;
    case 'replaceCoordinator':
      cluster.replaceCoordinator();
      break;
    case 'reconnect':
      cluster.reconnectWorker();
      break;
    case 'leave':
      worker?.leave();
      break;
    case 'breakRing':
      worker?.breakRing();
      break;
    case 'fail':
      worker?.fail();
      break;
    case 'failDevice':
      worker?.fail('device_failed');
      break;
    case 'kill':
      cluster.killWorker(event.worker, event.flush);
      break;
    case 'round':
      cluster.round();
      break;
    case 'spawnWorker':
      cluster.spawnWorker();
      break;
    case 'restartCoordinator':
      cluster.restartCoordinator();
      break;
    case 'advance':
      cluster.advance(event.durationMs);
      break;
    case 'pauseQueue':
    case 'resumeQueue':
      cluster.queue.isPaused = event.kind === 'pauseQueue';
      cluster.listQueue();
      break;
    case 'launch':
      if (cluster.runs.length < MAX_RUNS) cluster.launch({ ...event, maxAttempts: 3 });
      break;
    default:
      if (run !== undefined) applyRunEvent(cluster, run, event);
  }
}

function applyRunEvent(cluster: SimulatedCluster, run: SimulatedRun, event: RunEvent): void {
  switch (event.kind) {
    case 'stop':
      cluster.stop(run, event.saveCheckpoint);
      break;
    case 'cancel':
      cluster.stop(run, false);
      break;
    case 'resume':
      cluster.resume(run);
      break;
    case 'damageCheckpoint':
      cluster.damageNewestCheckpoint(run);
      break;
    case 'pauseJob':
      cluster.changeQueue(run, (queue, id) => queue.pause(id));
      break;
    case 'resumeJob':
      cluster.changeQueue(run, (queue, id) => queue.resume(id));
      break;
    case 'move':
      cluster.changeQueue(run, (queue, id) => queue.move(id, event.priority));
      break;
    default:
      assertNever(event);
  }
}
