import { useSignal } from '@preact/signals';
import { age } from '@weft/common';
import { nowMs, overview } from './live.js';
import { Empty } from './parts.js';
import { link } from './router.js';
import { RunCells, RunHeads } from './run-cells.js';

/** All runs, the newest first; those that are ticked can be compared. */
export function RunsView() {
  const chosen = useSignal<readonly string[]>([]);
  const now = overview.value;
  if (now === undefined) return <p class="loading">Loading …</p>;
  if (now.runs.length === 0)
    return (
      <Empty>
        No run yet. Start one with <code>weft launch debugTiny --local 2</code>.
      </Empty>
    );
  const choose = (runId: string, isChosen: boolean) => {
    chosen.value = isChosen ? [...chosen.value, runId] : chosen.value.filter((each) => each !== runId);
  };
  return (
    <>
      <div class="title-row">
        <h1>Runs</h1>
        {chosen.value.length > 1 ? (
          <a class="button main" href={link(['compare'], { runs: chosen.value.join(',') })}>
            Compare {chosen.value.length} runs
          </a>
        ) : (
          now.runs.length > 1 && <span class="remark">Tick two or more to compare them.</span>
        )}
      </div>
      <div class="scroll">
        <table class="list runs">
          <thead>
            <tr>
              <th scope="col">
                <span class="unseen">compare</span>
              </th>
              <RunHeads />
              <th scope="col" class="number">
                workers
              </th>
              <th scope="col" class="number">
                changed
              </th>
              <th scope="col">because</th>
            </tr>
          </thead>
          <tbody>
            {now.runs.map((run) => (
              <tr key={run.runId}>
                <td class="tick">
                  <input
                    type="checkbox"
                    aria-label={`compare ${run.runId}`}
                    checked={chosen.value.includes(run.runId)}
                    onChange={({ currentTarget }) => choose(run.runId, currentTarget.checked)}
                  />
                </td>
                <RunCells run={run} />
                <td class="number run-workers">
                  {run.worldSize === 0 ? run.workers : `${run.worldSize}/${run.workers}`}
                </td>
                <td class="number run-age">{age(nowMs.value - run.updatedAtMs)}</td>
                <td class="reason">{run.reason}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {now.runCount > now.runs.length && (
        <p class="remark">
          The newest {now.runs.length} of {now.runCount} runs. <code>weft history</code> lists all.
        </p>
      )}
    </>
  );
}
