import { age } from '@weft/common';
import type { PageFit, PageSweep, PageSweepDetail, RunView } from '@weft/contracts';
import { nowMs, overview } from './live.js';
import { Empty, Panel, Problem, Progress } from './parts.js';
import { link } from './router.js';
import { RunCells, RunHeads } from './run-cells.js';
import { SweepFit } from './sweep-fit.js';
import { useApi } from './use-api.js';

const TONES: Readonly<Record<PageSweep['state'], string>> = {
  running: 'good',
  ready: 'wait',
  finished: 'done',
  cancelled: 'idle',
};

/** All learning-rate sweeps. */
export function SweepsView() {
  const { value, error } = useApi<readonly PageSweep[]>('/api/sweeps', overview.value?.queue.length);
  return (
    <>
      <h1>Learning-rate sweeps</h1>
      <Problem error={error} />
      {value?.length === 0 && (
        <Empty>
          None yet. Start one with <code>weft lr sweep</code>.
        </Empty>
      )}
      {value !== undefined && value.length > 0 && (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th scope="col">sweep</th>
                <th scope="col">state</th>
                <th scope="col">runs ended</th>
                <th scope="col">launched</th>
              </tr>
            </thead>
            <tbody>
              {value.map(({ sweepId, state, childrenEnded, childrenTotal, createdAtMs }) => (
                <tr key={sweepId}>
                  <th scope="row">
                    <a href={link(['sweeps', sweepId])}>{sweepId}</a>
                  </th>
                  <td>
                    <span class={`status ${TONES[state]}`}>{state}</span>
                  </td>
                  <td>
                    <Progress
                      step={childrenEnded}
                      steps={childrenTotal}
                      status={state === 'running' ? 'running' : 'finished'}
                    />
                  </td>
                  <td>{age(nowMs.value - createdAtMs)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

/** A point of a sweep as its record has it. */
interface Point {
  readonly scale: string;
  readonly learningRate: number;
  readonly seed: number;
}

/** One sweep: what it fitted, and every run. */
export function SweepView({ sweepId }: { sweepId: string }) {
  const { value, error } = useApi<PageSweepDetail>(
    `/api/sweeps/${encodeURIComponent(sweepId)}`,
    Math.floor(nowMs.value / 2000),
  );
  const path = `/api/sweeps/${encodeURIComponent(sweepId)}/fit`;
  const { value: fit } = useApi<PageFit | null>(value?.result == null ? undefined : path);
  if (error !== undefined) return <Problem error={error} />;
  if (value === undefined) return <p class="loading">Loading …</p>;
  const points = pointsOf(value.plan);
  return (
    <>
      <h1>
        {sweepId} <span class={`status ${TONES[value.state]}`}>{value.state}</span>
      </h1>
      {fit != null ? (
        <SweepFit sweepId={sweepId} fit={fit} />
      ) : (
        <Panel title="Fit">
          {value.result === null ? (
            <Empty>
              It is fitted when all its runs have ended: {value.childrenEnded} of {value.childrenTotal} have.
            </Empty>
          ) : refusalOf(value.result) !== undefined ? (
            <p class="problem">{refusalOf(value.result)}</p>
          ) : (
            <Empty>
              No law is fitted to it: a law takes three sizes or more. The runs below have what was measured.
            </Empty>
          )}
        </Panel>
      )}
      <Panel title="Runs">
        <RunTable runs={value.runs} points={points} />
      </Panel>
    </>
  );
}

function RunTable({ runs, points }: { runs: readonly RunView[]; points: readonly Point[] }) {
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            <th scope="col">scale</th>
            <th scope="col" class="number">
              learning rate
            </th>
            <th scope="col" class="number">
              seed
            </th>
            <RunHeads />
          </tr>
        </thead>
        <tbody>
          {runs.map((run, at) => (
            <tr key={run.runId}>
              <td>{points[at]?.scale}</td>
              <td class="number">{points[at]?.learningRate}</td>
              <td class="number">{points[at]?.seed}</td>
              <RunCells run={run} />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function pointsOf(plan: unknown): readonly Point[] {
  const { runs = [] } = (plan ?? {}) as { runs?: readonly (Point & { reusedRunId: string | null })[] };
  return runs.filter(({ reusedRunId }) => reusedRunId === null);
}

/** Why the runs determine no law. */
function refusalOf(result: unknown): string | undefined {
  const { refusal }: { refusal?: string | null } = result ?? {};
  return refusal ?? undefined;
}
