import { effect, signal } from '@preact/signals';
import { hasEnded, type MetricsRow, type PageOverview, type PageRun } from '@weft/contracts';
import { route } from './router.js';

/** The newest overview; undefined before the first. */
export const overview = signal<PageOverview | undefined>(undefined);
/** Whether the coordinator's events arrive. */
export const isConnected = signal(false);
/** The run that is shown. */
export const openRun = signal<PageRun | undefined>(undefined);
/** What the coordinator says about the run that is shown and that is no run. */
export const problem = signal<string | undefined>(undefined);
/** Milliseconds since the Unix epoch by the coordinator's clock, about once a second. */
export const nowMs = signal(Date.now());

type RowListener = (row: MetricsRow) => void;
const rowListeners = new Set<RowListener>();

/** Calls the listener for every new row of the run that is shown, until the returned function is called. */
export function onRow(listener: RowListener): () => void {
  rowListeners.add(listener);
  return () => void rowListeners.delete(listener);
}

let source: EventSource | undefined;
let followed: string | undefined;
let clockAheadMs = 0;

/** Opens the stream, again whenever another run is shown. */
export function startLive(): void {
  setInterval(() => {
    nowMs.value = Date.now() + clockAheadMs;
  }, 1000);
  effect(() => {
    const [view, runId] = route.value.parts;
    const wanted = view === 'runs' ? runId : undefined;
    if (source === undefined || wanted !== followed) connect(wanted);
  });
}

function connect(runId: string | undefined): void {
  source?.close();
  followed = runId;
  openRun.value = undefined;
  problem.value = undefined;
  const events = new EventSource(`/api/stream${runId === undefined ? '' : `?run=${encodeURIComponent(runId)}`}`);
  source = events;
  let isTold = false;
  events.addEventListener('open', () => {
    isConnected.value = true;
  });
  events.addEventListener('error', () => {
    isConnected.value = false;
    // A stream that is refused is not opened again by the browser: the run is unknown, or the coordinator is another one.
    if (events.readyState === EventSource.CLOSED && source === events) {
      problem.value = runId === undefined ? undefined : `there is no run ${runId}`;
      setTimeout(() => source === events && connect(runId), 2000);
    }
  });
  events.addEventListener('overview', ({ data }) => {
    const next = JSON.parse(data) as PageOverview;
    clockAheadMs = next.nowMs - Date.now();
    // Only once this stream has told of its run: what is shown may be older than the stream.
    const isOver = isTold && openRun.value !== undefined && hasEnded(openRun.value.run);
    const resumed = isOver && next.runs.some((run) => run.runId === runId && !hasEnded(run));
    overview.value = next;
    isConnected.value = true;
    if (resumed) reconnect(runId);
  });
  events.addEventListener('run', ({ data }) => {
    isTold = true;
    openRun.value = JSON.parse(data) as PageRun;
  });
  events.addEventListener('row', ({ data }) => {
    const row = JSON.parse(data) as MetricsRow;
    for (const listener of rowListeners) listener(row);
  });
  events.addEventListener('problem', ({ data }) => {
    problem.value = JSON.parse(data) as string;
  });
}

/** The stream of a run that had ended says nothing more; a run that is resumed needs another one. */
function reconnect(runId: string | undefined): void {
  const kept = openRun.value;
  connect(runId);
  openRun.value = kept;
}
