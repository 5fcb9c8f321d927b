import { decimal, differences, duration, large, percent } from '@weft/common';
import { hasEnded, type PageCurves, type PageRun, type RunGoodput } from '@weft/contracts';
import { runPath } from './api.js';
import { lineColor } from './colors.js';
import { CurvesView } from './curves-view.js';
import { overview } from './live.js';
import { Empty, Panel, Problem, Status } from './parts.js';
import { link, route, setQuery } from './router.js';
import { useApi } from './use-api.js';

/** More lines nobody tells apart. */
const MOST_RUNS = 6;

/** Several runs beside each other: what they reached, in what their configurations differ, their curves. */
export function CompareView() {
  const ids = (route.value.query.get('runs') ?? '').split(',').filter(Boolean).slice(0, MOST_RUNS);
  const choices = (overview.value?.runs ?? []).filter(({ runId, step }) => !ids.includes(runId) && step > 0);
  const show = (runs: readonly string[]) => setQuery({ runs: runs.join(',') });
  const [first, ...others] = ids;
  return (
    <>
      <div class="title-row">
        <h1>Compare runs</h1>
        {ids.length < MOST_RUNS && choices.length > 0 && (
          <label class="remark">
            add{' '}
            <select value="" onChange={({ currentTarget }) => show([...ids, currentTarget.value])}>
              <option value="">a run …</option>
              {choices.map(({ runId }) => (
                <option key={runId}>{runId}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      {first === undefined ? (
        <Empty>Choose runs here, or tick them in the list of runs.</Empty>
      ) : (
        <>
          <Panel title="What they reached">
            <div class="scroll">
              <table class="list">
                <thead>
                  <tr>
                    <th scope="col">run</th>
                    <th scope="col">status</th>
                    <th scope="col" class="number">
                      step
                    </th>
                    <th scope="col" class="number">
                      loss
                    </th>
                    <th scope="col" class="number">
                      held out
                    </th>
                    <th scope="col" class="number">
                      tokens/s
                    </th>
                    <th scope="col" class="number">
                      goodput
                    </th>
                    <th scope="col" class="number">
                      lasted
                    </th>
                    <th scope="col">
                      <span class="unseen">leave out</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {ids.map((runId, at) => (
                    <Reached
                      key={runId}
                      runId={runId}
                      color={lineColor(at)}
                      leaveOut={() => show(ids.filter((each) => each !== runId))}
                    />
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
          <Differences key={ids.join()} runIds={ids} />
          <h2 class="section">Curves</h2>
          <CurvesView runId={first} others={others} />
        </>
      )}
    </>
  );
}

function Reached({ runId, color, leaveOut }: { runId: string; color: string; leaveOut: () => void }) {
  const known = overview.value?.runs.find((run) => run.runId === runId);
  const { value, error } = useApi<PageRun>(runPath(runId), known?.status);
  const { value: goodput } = useApi<RunGoodput | null>(runPath(runId, 'goodput'), known?.status);
  const path = `${runPath(runId, 'curves')}?names=heldOut,tokensPerSecond&points=100`;
  const { value: measured } = useApi<PageCurves>(path, known?.status);
  const run = known ?? value?.run;
  const last = (name: string) => measured?.curves[name]?.values.at(-1);
  const [heldOut, tokens] = [last('heldOut'), last('tokensPerSecond')];
  return (
    <tr>
      <th scope="row">
        <span class="swatch" style={{ background: color }} /> <a href={link(['runs', runId])}>{runId}</a>
        <Problem error={error} />
      </th>
      <td>{run !== undefined && <Status status={run.status} />}</td>
      <td class="number">
        {run === undefined ? '' : `${run.step.toLocaleString('en')}/${run.steps.toLocaleString('en')}`}
      </td>
      <td class="number">{decimal(run?.loss)}</td>
      <td class="number">{heldOut === undefined ? '–' : decimal(heldOut)}</td>
      <td class="number">{tokens === undefined ? '–' : large(tokens)}</td>
      <td class="number">{goodput?.goodput == null ? '–' : percent(goodput.goodput)}</td>
      <td class="number">
        {run !== undefined && hasEnded(run) ? duration((run.updatedAtMs - run.createdAtMs) / 1000) : ''}
      </td>
      <td>
        <button type="button" class="quiet" title={`leave out ${runId}`} onClick={leaveOut}>
          ✕<span class="unseen"> leave out {runId}</span>
        </button>
      </td>
    </tr>
  );
}

/** The fields in which not all configurations agree. */
function Differences({ runIds }: { runIds: readonly string[] }) {
  // As many questions as there are runs, always in the same order: the component is made anew for others.
  const shown = runIds.map((runId) => useApi<PageRun>(runPath(runId)).value);
  if (shown.some((each) => each === undefined)) return <p class="loading">Reading the configurations …</p>;
  const fields = differences(shown.map((each) => each?.config));
  return (
    <Panel title="In what they differ">
      {fields.length === 0 ? (
        <Empty>{runIds.length < 2 ? 'Add another run.' : 'All have the same configuration.'}</Empty>
      ) : (
        <div class="scroll">
          <table class="list config">
            <thead>
              <tr>
                <th scope="col">field</th>
                {runIds.map((runId, at) => (
                  <th scope="col" key={runId}>
                    <span class="swatch" style={{ background: lineColor(at) }} /> …{runId.slice(-9)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {fields.map(({ name, values }) => (
                <tr key={name}>
                  <th scope="row" class="mono">
                    {name}
                  </th>
                  {values.map((value, at) => (
                    <td class="mono" key={runIds[at]}>
                      {value ?? '–'}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
