import { plural } from '@weft/common';
import type { PageOverview, RunView } from '@weft/contracts';
import { post } from './api.js';
import { overview } from './live.js';
import { Action, Empty } from './parts.js';
import { link } from './router.js';

/** Which runs train, which wait, in which order and why. */
export function QueueView() {
  const now = overview.value;
  if (now === undefined) return <p class="loading">Loading …</p>;
  const jobs = now.queue.flatMap((job) => {
    const run = now.runs.find(({ runId }) => runId === job.id);
    return run === undefined ? [] : [{ ...job, run }];
  });
  const waiting = jobs.filter(({ state }) => state !== 'active');
  const idle = now.workers.filter(({ runId }) => runId === null).length;
  const change = now.isQueuePaused ? 'resume' : 'pause';
  return (
    <>
      <h1>Queue</h1>
      <p class="remark">
        {plural(now.workers.length, 'worker')}, {idle} idle; {plural(waiting.length, 'run')} waiting.
        {now.isQueuePaused && <b> The queue is paused: nothing starts.</b>}
      </p>
      <p>
        <Action
          label={now.isQueuePaused ? 'Let runs start' : 'Pause the queue'}
          title="running runs go on"
          run={() => post(`/api/queue/${change}`, {})}
        />
      </p>
      {jobs.length === 0 && <Empty>Nothing trains and nothing waits.</Empty>}
      {jobs.length > 0 && (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th scope="col" class="number">
                  position
                </th>
                <th scope="col">run</th>
                <th scope="col">state</th>
                <th scope="col" class="number">
                  priority
                </th>
                <th scope="col" class="number">
                  workers
                </th>
                <th scope="col">because</th>
                <th scope="col">change</th>
              </tr>
            </thead>
            <tbody>
              {jobs.map(({ id, state, run }) => (
                <tr key={id}>
                  <td class="number">{run.queuePosition ?? ''}</td>
                  <th scope="row">
                    <a href={link(['runs', id])}>{id}</a>
                  </th>
                  <td>
                    <span class={`status ${state === 'active' ? 'good' : state === 'paused' ? 'warn' : 'wait'}`}>
                      {state === 'active' ? 'running' : state}
                    </span>
                  </td>
                  <td class="number">{run.priority}</td>
                  <td class="number">{run.workers}</td>
                  <td class="reason">{run.reason}</td>
                  <td>
                    {state === 'active' ? (
                      ''
                    ) : (
                      <Moves run={run} waiting={waiting.map((job) => job.id)} isPaused={state === 'paused'} />
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function Moves({ run: { runId }, waiting, isPaused }: { run: RunView; waiting: readonly string[]; isPaused: boolean }) {
  const at = waiting.indexOf(runId);
  const move = (to: Readonly<Record<string, string>>) => post('/api/queue/move', { id: runId, ...to });
  const [before, after] = [waiting[at - 1], waiting[at + 1]];
  return (
    <span class="actions">
      <Action
        label="↑"
        title={`${runId} one place forward`}
        isDisabled={before === undefined}
        run={() => move({ before: before ?? '' })}
      />
      <Action
        label="↓"
        title={`${runId} one place back`}
        isDisabled={after === undefined}
        run={() => move({ after: after ?? '' })}
      />
      <Action
        label={isPaused ? 'Let it start' : 'Pause'}
        run={() => post(`/api/queue/${isPaused ? 'resume' : 'pause'}`, { id: runId })}
      />
    </span>
  );
}

/** Every connected worker and what it does. */
export function ClusterView() {
  const now = overview.value;
  if (now === undefined) return <p class="loading">Loading …</p>;
  return (
    <>
      <h1>Workers</h1>
      {now.workers.length === 0 ? (
        <Empty>
          No worker is connected. Start one with <code>weft worker</code>, or a run with{' '}
          <code>weft launch debugTiny --local 2</code>.
        </Empty>
      ) : (
        <WorkerTable workers={now.workers} />
      )}
    </>
  );
}

function WorkerTable({ workers }: Pick<PageOverview, 'workers'>) {
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            <th scope="col">worker</th>
            <th scope="col">host</th>
            <th scope="col" class="number">
              process
            </th>
            <th scope="col">device</th>
            <th scope="col">role</th>
            <th scope="col">run</th>
            <th scope="col" class="number">
              heard from
            </th>
          </tr>
        </thead>
        <tbody>
          {workers.map(({ workerId, hostName, processId, device, role, runId, rank, silentSeconds }) => (
            <tr key={workerId}>
              <th scope="row" class="mono">
                {workerId}
              </th>
              <td>{hostName}</td>
              <td class="number">{processId}</td>
              <td>{device}</td>
              <td>{role === 'rank' ? 'trains' : 'holds experts'}</td>
              <td>
                {runId === null ? (
                  <span class="status idle">idle</span>
                ) : (
                  <a href={link(['runs', runId, 'workers'])}>
                    {runId}
                    {rank === null ? '' : `, rank ${rank}`}
                  </a>
                )}
              </td>
              <td class="number">{silentSeconds < 3 ? 'now' : `${silentSeconds} s ago`}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
