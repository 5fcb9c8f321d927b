import { QueueService, RunsService, SweepsService, WorkersService } from '@weft/proto';
import { type Service, service } from '@weft/rpc';
import type { Coordinator } from './coordinator.js';

/** A coordinator as gRPC services. */
export function coordinatorServices(coordinator: Coordinator): readonly Service[] {
  const { profiles, queue, runs, sweeps, workers } = coordinator;
  return [
    service(RunsService, {
      launch: (request) => runs.launch(request),
      resume: (request) => runs.resume(request),
      stop: (request) => runs.stop(request),
      changeMixture: (request) => runs.changeMixture(request),
      saveCheckpoint: (request) => runs.saveCheckpoint(request),
      get: ({ runId }) => runs.get(runId),
      list: (request) => runs.list(request),
      watch: (request, { signal }) => runs.watch(request, signal),
      cluster: () => runs.cluster(),
      readLog: (request) => runs.readLog(request),
      goodput: async ({ runId }) => {
        runs.get(runId);
        const goodput = await coordinator.goodputOf(runId);
        return { goodputJson: goodput === undefined ? '' : JSON.stringify(goodput) };
      },
      ranks: ({ runId }) => {
        runs.get(runId);
        return { ranksJson: JSON.stringify(coordinator.ranksOf(runId)) };
      },
      profile: (request, { signal }) => profiles.record(request, signal),
    }),
    service(QueueService, {
      show: (request) => queue.show(request),
      move: (request) => queue.move(request),
      pause: (request) => queue.pause(request),
      resume: (request) => queue.resume(request),
      cancel: (request) => queue.cancel(request),
    }),
    service(SweepsService, {
      launch: (request) => sweeps.launch(request),
      get: (request) => sweeps.get(request),
      list: () => sweeps.list(),
      finish: (request) => sweeps.finish(request),
    }),
    service(WorkersService, {
      connect: (stream) => workers.connect(stream),
      sendHeartbeat: ({ workerId, token }) => {
        workers.heartbeat(workerId, token);
        return {};
      },
    }),
  ];
}
