import type { PageRun } from '@weft/contracts';
import type { ComponentChildren } from 'preact';
import { CheckpointsView, ConfigView } from './config-view.js';
import { CurvesView } from './curves-view.js';
import { RunDataView } from './data-view.js';
import { EventsView } from './events-view.js';
import { ExpertsView } from './experts-view.js';
import { GoodputView } from './goodput-view.js';
import { openRun, problem } from './live.js';
import { RunLogsView } from './logs-view.js';
import { Problem } from './parts.js';
import { link, route } from './router.js';
import { RunHeader } from './run-header.js';
import { WorkersView } from './workers-view.js';

type View = (props: { shown: PageRun }) => ComponentChildren;

const TABS: Readonly<Record<string, readonly [label: string, View]>> = {
  curves: ['Curves', ({ shown }) => <CurvesView runId={shown.run.runId} />],
  data: ['Data', RunDataView],
  workers: ['Workers', WorkersView],
  time: ['Time', GoodputView],
  experts: ['Experts', ExpertsView],
  events: ['Events', EventsView],
  logs: ['Logs', RunLogsView],
  checkpoints: ['Checkpoints', CheckpointsView],
  config: ['Configuration', ConfigView],
};

/** One run: what everybody asks first, and a view for each further question. */
export function RunView({ runId }: { runId: string }) {
  const shown = openRun.value;
  if (problem.value !== undefined) return <Problem error={problem.value} />;
  if (shown === undefined || shown.run.runId !== runId) return <p class="loading">Loading {runId} …</p>;
  const tab = route.value.parts[2] ?? 'curves';
  const [, View] = TABS[tab] ?? TABS.curves!;
  return (
    <article class="run-view">
      <RunHeader shown={shown} />
      <nav class="tabs" aria-label="Views of the run">
        {Object.entries(TABS).map(([name, [label]]) =>
          name === 'experts' && !hasExperts(shown) ? null : (
            <a
              class="tab"
              key={name}
              href={link(['runs', runId, name])}
              aria-current={tab === name ? 'page' : undefined}
            >
              {label}
            </a>
          ),
        )}
      </nav>
      <View shown={shown} />
    </article>
  );
}

function hasExperts({ config }: PageRun): boolean {
  const { model } = config as { model?: { decoder?: { moe?: unknown } } };
  return model?.decoder?.moe != null;
}
