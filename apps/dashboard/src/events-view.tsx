import type { PageRun, PageTimeline } from '@weft/contracts';
import { runPath } from './api.js';
import { Panel, Problem } from './parts.js';
import { useApi } from './use-api.js';

/** What happened to a run and why, the newest first. */
export function EventsView({ shown: { run } }: { shown: PageRun }) {
  const { status, generation, checkpointStep, reason } = run;
  const again = `${status} ${generation} ${checkpointStep} ${status === 'running' ? '' : reason}`;
  const { value, error } = useApi<PageTimeline>(runPath(run.runId, 'timeline'), again);
  return (
    <Panel title="What happened">
      <Problem error={error} />
      <ol class="events">
        {value?.entries.toReversed().map(({ time, text, tone }, at) => (
          <li key={at} class={tone}>
            <time dateTime={time}>{localTime(time)}</time>
            <span>{text}</span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

/** A time as the reader's clock shows it. */
export function localTime(time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? '' : `${date.toLocaleDateString('en-CA')} ${date.toLocaleTimeString('en-GB')}`;
}
