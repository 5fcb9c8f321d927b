import { RunsService, WorkersService } from '@weft/proto';
import { type Service, service } from '@weft/rpc';
import type { Coordinator } from './coordinator.js';

/** A coordinator as gRPC services. */
export function coordinatorServices(coordinator: Coordinator): readonly Service[] {
  return [
    service(RunsService, {
      launch: (request) => coordinator.runs.launch(request),
      resume: (request) => coordinator.runs.resume(request),
      stop: (request) => coordinator.runs.stop(request),
      get: ({ runId }) => coordinator.runs.get(runId),
      list: () => ({ runs: [...coordinator.runs.list()] }),
      watch: (request, { signal }) => coordinator.runs.watch(request, signal),
      cluster: () => coordinator.runs.cluster(),
      readLog: (request) => coordinator.runs.readLog(request),
    }),
    service(WorkersService, {
      attend: (stream) => coordinator.attendance.attend(stream),
      beat: ({ workerId }) => {
        coordinator.attendance.beat(workerId);
        return {};
      },
    }),
  ];
}
