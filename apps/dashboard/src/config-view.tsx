import { flattened } from '@weft/common';
import { hasEnded, type PageRun } from '@weft/contracts';
import { post, runPath } from './api.js';
import { overview } from './live.js';
import { Action, Empty, Panel, Problem } from './parts.js';
import { route, setQuery } from './router.js';
import { useApi } from './use-api.js';

/** The configuration of a run, or in what it differs from another one's. */
export function ConfigView({ shown: { run, config } }: { shown: PageRun }) {
  const other = route.value.query.get('against') ?? '';
  const { value, error } = useApi<PageRun>(other === '' ? undefined : runPath(other));
  const own = flattened(config);
  const others = value === undefined ? undefined : flattened(value.config);
  const names = [...new Set([...own.keys(), ...(others?.keys() ?? [])])];
  const differing = others === undefined ? names : names.filter((name) => own.get(name) !== others.get(name));
  return (
    <Panel
      title="Configuration"
      aside={
        <label class="remark">
          difference to{' '}
          <select
            value={other}
            onChange={({ currentTarget }) => setQuery({ against: currentTarget.value || undefined })}
          >
            <option value="">no other run</option>
            {overview.value?.runs
              .filter(({ runId }) => runId !== run.runId)
              .map(({ runId }) => (
                <option key={runId}>{runId}</option>
              ))}
          </select>
        </label>
      }
    >
      <Problem error={error} />
      {differing.length === 0 && <Empty>Both runs have the same configuration.</Empty>}
      {differing.length > 0 && (
        <div class="scroll">
          <table class="list config">
            <thead>
              <tr>
                <th scope="col">field</th>
                <th scope="col">{others === undefined ? 'value' : 'this run'}</th>
                {others !== undefined && <th scope="col">{other}</th>}
              </tr>
            </thead>
            <tbody>
              {differing.map((name) => (
                <tr key={name}>
                  <th scope="row" class="mono">
                    {name}
                  </th>
                  <td class="mono">{own.get(name) ?? '–'}</td>
                  {others !== undefined && <td class="mono">{others.get(name) ?? '–'}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

/** The checkpoints that should be on disk, and going on from one of them. */
export function CheckpointsView({ shown: { run, checkpoints } }: { shown: PageRun }) {
  const resume = (fromStep: number) => post(runPath(run.runId, 'resume'), { fromStep });
  const newest = checkpoints.at(-1)?.step ?? 0;
  return (
    <Panel title="Checkpoints">
      {checkpoints.length === 0 && <Empty>None is written yet.</Empty>}
      {checkpoints.length > 0 && (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th scope="col" class="number">
                  step
                </th>
                <th scope="col">directory</th>
                <th scope="col">go on</th>
              </tr>
            </thead>
            <tbody>
              {checkpoints.toReversed().map(({ step, directory }) => (
                <tr key={step}>
                  <th scope="row" class="number">
                    {step.toLocaleString('en')}
                  </th>
                  <td class="mono">{directory}</td>
                  <td>
                    {hasEnded(run) && step < run.steps ? (
                      <Action
                        label="Resume from here"
                        {...(step < newest
                          ? {
                              confirm: `Go on from step ${step}? The steps after it are trained again, and the later checkpoints are set aside.`,
                            }
                          : {})}
                        run={() => resume(step)}
                      />
                    ) : (
                      <span class="remark">{hasEnded(run) ? 'it is the last step' : 'stop the run first'}</span>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
