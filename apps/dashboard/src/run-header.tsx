import { computed, signal } from '@preact/signals';
import { age, decimal, duration, large } from '@weft/common';
import type { MetricsRow, PageCurves } from '@weft/contracts';
import { hasEnded, type PageRun, type RunView } from '@weft/contracts';
import { useEffect } from 'preact/hooks';
import { get, post, runPath } from './api.js';
import { nowMs, onRow, overview } from './live.js';
import { Action, Figure, Progress, Status } from './parts.js';

/** The last rows of the run that is shown, oldest first. */
const recent = signal<readonly RecentStep[]>([]);
const MOST_RECENT = 400;

interface RecentStep {
  readonly step: number;
  readonly loss: number | null;
  readonly tokensPerSecond: number | null;
  readonly timeMs: number;
}

/** Seconds a step takes: the middle one of the last steps. */
const secondsPerStep = computed(() => {
  const rows = recent.value.slice(-30);
  const gaps = rows
    .slice(1)
    .map((row, at) => (row.timeMs - rows[at]!.timeMs) / 1000 / Math.max(1, row.step - rows[at]!.step));
  return gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)];
});

/** One look: is it learning, how fast, is something wrong, when will it end. */
export function RunHeader({ shown }: { shown: PageRun }) {
  const { run, checkpoints } = shown;
  useRecentSteps(run.runId);
  const isLive = !hasEnded(run) && run.status !== 'queued';
  const perStep = secondsPerStep.value;
  const left = perStep === undefined ? undefined : (run.steps - run.step) * perStep;
  const tokens = medianOf(recent.value.slice(-20).flatMap(({ tokensPerSecond }) => tokensPerSecond ?? []));
  const checkpoint = checkpoints.at(-1);
  const lost = isLive && run.worldSize > 0 ? run.workers - run.worldSize : 0;
  return (
    <header class="run">
      <div class="name">
        <h1>{run.runId}</h1>
        <Status status={run.status} />
        <Actions shown={shown} />
      </div>
      <p class={`reason ${run.status === 'failed' ? 'bad' : ''}`}>
        {run.reason}
        {run.failure?.hint != null && <span class="hint">: {run.failure.hint}</span>}
      </p>
      <Progress {...run} />
      <dl class="figures">
        <Figure
          name="loss"
          value={decimal(run.loss)}
          note={trendText()}
          tone={run.loss === null && run.step > 0 ? 'bad' : ''}
        />
        <Figure
          name="speed"
          value={tokens === undefined ? '–' : large(tokens)}
          note={perStep === undefined ? 'tokens/s' : `tokens/s, ${duration(perStep)} a step`}
        />
        {isLive ? (
          <Figure
            name="ends"
            value={left === undefined ? '–' : `in ${duration(left)}`}
            note={left === undefined ? undefined : clock(nowMs.value + 1000 * left)}
          />
        ) : (
          <Figure
            name={hasEnded(run) ? 'ended' : 'launched'}
            value={age(nowMs.value - (hasEnded(run) ? run.updatedAtMs : run.createdAtMs))}
            note={hasEnded(run) ? `after ${duration((run.updatedAtMs - run.createdAtMs) / 1000)}` : undefined}
          />
        )}
        <Figure
          name="workers"
          value={run.worldSize === 0 ? `${run.workers}` : `${run.worldSize}/${run.workers}`}
          note={run.generation > 0 ? `generation ${run.generation}` : undefined}
          tone={lost > 0 ? 'warn' : ''}
        />
        <Figure
          name="checkpoint"
          value={checkpoint === undefined ? 'none' : `step ${checkpoint.step.toLocaleString('en')}`}
          note={
            checkpoint === undefined || run.step === checkpoint.step
              ? undefined
              : `${(run.step - checkpoint.step).toLocaleString('en')} steps ago`
          }
        />
        {run.queuePosition !== null && (
          <Figure
            name="in the queue"
            value={`no. ${run.queuePosition}`}
            note={run.expectedStartMs === null ? undefined : `starts ${clock(run.expectedStartMs)}`}
          />
        )}
        {run.failedAttempts > 0 && (
          <Figure name="failed attempts" value={`${run.failedAttempts}/${run.maxAttempts}`} tone="warn" />
        )}
      </dl>
    </header>
  );
}

function Actions({ shown: { run } }: { shown: PageRun }) {
  const job = overview.value?.queue.find(({ id }) => id === run.runId);
  const stop = (saveCheckpoint: boolean) => post<RunView>(runPath(run.runId, 'stop'), { saveCheckpoint });
  const inQueue = (change: 'pause' | 'resume') => post(`/api/queue/${change}`, { id: run.runId });
  return (
    <div class="actions">
      {run.status === 'running' && (
        <Action
          label="Checkpoint now"
          title="saved after the current step; the run goes on"
          run={() => post(runPath(run.runId, 'checkpoint'), {})}
        />
      )}
      {!hasEnded(run) && run.status !== 'stopping' && (
        <Action label="Stop" title="ends after the current step, with a checkpoint" run={() => stop(true)} />
      )}
      {run.status === 'stopping' && (
        <Action
          label="Stop at once"
          title="without a checkpoint"
          confirm={`End ${run.runId} at once, without a checkpoint of its last steps?`}
          run={() => stop(false)}
        />
      )}
      {run.status === 'queued' && job?.state === 'paused' && (
        <Action label="Let it start" run={() => inQueue('resume')} />
      )}
      {run.status === 'queued' && job !== undefined && job.state !== 'paused' && (
        <Action label="Pause" title="it does not start until it is let" run={() => inQueue('pause')} />
      )}
      {(run.status === 'stopped' || run.status === 'failed') && (
        <Action
          label="Resume"
          class="main"
          title="goes on from its newest checkpoint"
          run={() => post(runPath(run.runId, 'resume'), {})}
        />
      )}
    </div>
  );
}

function useRecentSteps(runId: string): void {
  useEffect(() => {
    recent.value = [];
    const leaving = new AbortController();
    void loadRecent(runId, leaving.signal);
    const leave = onRow((row) => {
      recent.value = [...recent.value.filter(({ step }) => step < row.step), toRecent(row)].slice(-MOST_RECENT);
    });
    return () => {
      leaving.abort();
      leave();
    };
  }, [runId]);
}

const toRecent = ({ step, loss, tokensPerSecond, time }: MetricsRow): RecentStep => ({
  step,
  loss,
  tokensPerSecond,
  timeMs: Date.parse(time),
});

async function loadRecent(runId: string, signalOfView: AbortSignal): Promise<void> {
  const path = (query: string) => `${runPath(runId, 'curves')}?${query}`;
  const { lastStep } = await get<PageCurves>(path('names='), signalOfView);
  const from = Math.max(1, lastStep - 100);
  const { curves } = await get<PageCurves>(
    path(`names=loss,tokensPerSecond,time&from=${from}&points=400`),
    signalOfView,
  );
  const { steps = [], values = [] } = curves.time ?? {};
  const valueAt = (name: string, step: number) => {
    const at = curves[name]?.steps.indexOf(step) ?? -1;
    return at < 0 ? null : (curves[name]?.values[at] ?? null);
  };
  const rows = steps.map((step, at) => ({
    step,
    loss: valueAt('loss', step),
    tokensPerSecond: valueAt('tokensPerSecond', step),
    timeMs: values[at]!,
  }));
  const newest = recent.value.filter(({ step }) => step > (rows.at(-1)?.step ?? 0));
  recent.value = [...rows, ...newest];
}

/** How the loss of the last steps compares with those before them. */
function trendText(): string | undefined {
  const losses = recent.value.flatMap(({ loss }) => loss ?? []);
  const window = Math.min(50, Math.floor(losses.length / 2));
  if (window < 3) return undefined;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const change = mean(losses.slice(-window)) - mean(losses.slice(-2 * window, -window));
  const share = Math.abs(change) / Math.abs(mean(losses));
  if (share < 0.002) return `level over ${window} steps`;
  return `${change < 0 ? '↓ falls' : '↑ rises'} ${decimal(Math.abs(change)).replace(/0+$/, '')} in ${window} steps`;
}

function medianOf(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** The time of day, with the date where it is not today. */
function clock(timeMs: number): string {
  const time = new Date(timeMs);
  const isToday = time.toDateString() === new Date(nowMs.value).toDateString();
  const hours = time.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  return isToday ? hours : `${time.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${hours}`;
}
