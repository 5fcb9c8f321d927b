import { signal } from '@preact/signals';
import { render } from 'preact';
import { themeVersion } from './chart.js';
import { ClusterView, QueueView } from './cluster-views.js';
import { CompareView } from './compare-view.js';
import { isConnected, overview, startLive } from './live.js';
import { LogsView } from './logs-view.js';
import { link, route } from './router.js';
import { RunView } from './run-view.js';
import { RunsView } from './runs-view.js';
import { SweepsView, SweepView } from './sweeps-view.js';

const VIEWS = [
  ['runs', 'Runs'],
  ['compare', 'Compare'],
  ['queue', 'Queue'],
  ['workers', 'Workers'],
  ['sweeps', 'Sweeps'],
  ['logs', 'Logs'],
] as const;

const theme = signal<'light' | 'dark' | undefined>(storedTheme());

function Page() {
  const [view = 'runs', id] = route.value.parts;
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('content')?.focus()}>
        to the content
      </button>
      <header class="top">
        <a class="brand" href={link(['runs'])}>
          weft
        </a>
        <nav aria-label="Views">
          {VIEWS.map(([name, label]) => (
            <a class="tab" key={name} href={link([name])} aria-current={view === name ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <span class={`connection ${isConnected.value ? 'good' : 'bad'}`} role="status">
          {isConnected.value ? 'live' : 'the coordinator does not answer'}
        </span>
        <button type="button" class="quiet" onClick={toggleTheme} title="light or dark">
          ◐<span class="unseen"> light or dark</span>
        </button>
      </header>
      {overview.value?.storeError != null && (
        <p class="problem banner" role="alert">
          {overview.value.storeError}
        </p>
      )}
      <main id="content" tabIndex={-1}>
        {view === 'runs' && (id === undefined ? <RunsView /> : <RunView key={id} runId={id} />)}
        {view === 'compare' && <CompareView />}
        {view === 'queue' && <QueueView />}
        {view === 'workers' && <ClusterView />}
        {view === 'sweeps' && (id === undefined ? <SweepsView /> : <SweepView key={id} sweepId={id} />)}
        {view === 'logs' && <LogsView />}
      </main>
      <footer>{overview.value !== undefined && `Weft ${overview.value.version}, ${overview.value.store}`}</footer>
    </>
  );
}

function storedTheme(): 'light' | 'dark' | undefined {
  const stored = localStorage.getItem('theme');
  return stored === 'light' || stored === 'dark' ? stored : undefined;
}

function applyTheme(): void {
  if (theme.value !== undefined) document.documentElement.dataset.theme = theme.value;
  themeVersion.value++;
}

function toggleTheme(): void {
  const isDark = matchMedia('(prefers-color-scheme: dark)').matches;
  const shown = theme.value ?? (isDark ? 'dark' : 'light');
  theme.value = shown === 'dark' ? 'light' : 'dark';
  localStorage.setItem('theme', theme.value);
  applyTheme();
}

applyTheme();
startLive();
const host = document.getElementById('page');
if (host !== null) render(<Page />, host);
