import { duration } from '@weft/common';
import type { PageMember, PageRun, PageTimeline, PageWorker } from '@weft/contracts';
import { runPath } from './api.js';
import { nowMs, overview } from './live.js';
import { Empty, Panel, Problem } from './parts.js';
import { RankPhases } from './rank-phases.js';
import { useApi } from './use-api.js';

/** Who trains a run, who was lost, and what every rank spent its last steps on. */
export function WorkersView({ shown: { run } }: { shown: PageRun }) {
  const lostAndPresent = `${run.generation} ${run.worldSize} ${run.status}`;
  const { value, error } = useApi<PageTimeline>(runPath(run.runId, 'timeline'), lostAndPresent);
  const connected = new Map(overview.value?.workers.map((worker) => [worker.workerId, worker]));
  return (
    <>
      <Panel title="Members">
        <Problem error={error} />
        {value?.members.length === 0 && <Empty>No worker has trained it yet.</Empty>}
        {value !== undefined && value.members.length > 0 && (
          <Members members={value.members} connected={connected} runId={run.runId} />
        )}
      </Panel>
      <RankPhases run={run} />
    </>
  );
}

function Members(props: { members: readonly PageMember[]; connected: ReadonlyMap<string, PageWorker>; runId: string }) {
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            <th scope="col">rank</th>
            <th scope="col">worker</th>
            <th scope="col">host</th>
            <th scope="col">device</th>
            <th scope="col">now</th>
            <th scope="col">because</th>
          </tr>
        </thead>
        <tbody>
          {props.members.map(({ workerId, hostName, device, role, rank, lost }) => {
            const worker = props.connected.get(workerId);
            const isMember = worker?.runId === props.runId;
            const [tone, now] =
              lost !== null
                ? ['bad', 'lost']
                : worker === undefined
                  ? ['idle', 'gone']
                  : !isMember
                    ? ['idle', 'released']
                    : worker.silentSeconds > 3
                      ? ['warn', `silent for ${worker.silentSeconds} s`]
                      : worker.hasVoted
                        ? ['wait', 'waits for the others']
                        : ['good', 'at work'];
            return (
              <tr key={`${role} ${rank} ${workerId}`}>
                <th scope="row">{role === 'rank' ? rank : `experts ${rank}`}</th>
                <td class="mono">{workerId}</td>
                <td>{hostName}</td>
                <td>{device}</td>
                <td>
                  <span class={`status ${tone}`}>{now}</span>
                </td>
                <td class="reason">
                  {lost === null ? '' : `${lost.reason}, ${duration((nowMs.value - Date.parse(lost.time)) / 1000)} ago`}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
