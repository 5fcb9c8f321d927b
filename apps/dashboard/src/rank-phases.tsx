import { useSignal } from '@preact/signals';
import { duration } from '@weft/common';
import { hasEnded, type PageCurves, type PageRun, type RankStep, type RunRank, type RunRanks } from '@weft/contracts';
import { runPath } from './api.js';
import { lineColor } from './colors.js';
import { nowMs } from './live.js';
import { Panel } from './parts.js';
import { useApi } from './use-api.js';

const SHOWN_STEPS = 40;
/** More ranks are shown when a person asks for them. */
const SHOWN_RANKS = 8;

/** What a step is spent on, in the order in which it happens. */
const PHASES = [
  ['data', 'waits for data', lineColor(1)],
  ['compute', 'computes', lineColor(0)],
  ['communication', 'all-reduce and vote', lineColor(6)],
  ['waiting', 'waits for a slower rank', 'var(--bad)'],
  ['apply', 'applies the update', lineColor(2)],
] as const;

type Phase = (typeof PHASES)[number][0];

/** The phases of the last steps of every rank, one bar a step: a rank that never waits is the one the others wait for. */
export function RankPhases({ run }: { run: PageRun['run'] }) {
  const again = hasEnded(run) ? run.status : Math.floor(nowMs.value / 1000);
  const { value } = useApi<RunRanks>(runPath(run.runId, 'ranks'), again);
  const ranks = (value?.ranks ?? []).filter(({ steps }) => steps.length > 0);
  if (value === undefined) return null;
  return ranks.length === 0 ? <PhasesOfRankZero run={run} /> : <Ranks ranks={ranks} />;
}

function Ranks({ ranks }: { ranks: readonly RunRank[] }) {
  const isWhole = useSignal(false);
  const byWaiting = ranks.toSorted((a, b) => meanOf(a.steps, 'waiting') - meanOf(b.steps, 'waiting'));
  const shown = isWhole.value ? ranks : byWaiting.slice(0, SHOWN_RANKS).sort((a, b) => a.rank - b.rank);
  const last = ranks.reduce((step, { steps }) => Math.max(step, steps.at(-1)?.step ?? 0), 0);
  const columns = Array.from({ length: SHOWN_STEPS }, (_, at) => last - SHOWN_STEPS + 1 + at).filter(
    (step) => step > 0,
  );
  const totals = shown.flatMap(({ steps }) => steps.map(totalOf)).sort((a, b) => a - b);
  const scale = scaleOf(totals);
  const slowest = byWaiting[0];
  const waited = ranks.length < 2 ? 0 : Math.max(...ranks.map(({ steps }) => meanOf(steps, 'waiting')));
  return (
    <Panel
      title="Phases of the last steps"
      aside={
        <span class="remark">
          {slowest !== undefined && waited > 0.02 * meanOf(slowest.steps, 'compute')
            ? `the others wait for rank ${slowest.rank}, up to ${duration(waited)} a step`
            : 'all ranks are about as fast'}
        </span>
      }
    >
      <Keys />
      <div class="ranks">
        {shown.map(({ rank, hostName, steps, trouble }) => (
          <RankRow
            key={rank}
            name={`rank ${rank}`}
            note={hostName}
            trouble={trouble}
            steps={steps}
            columns={columns}
            scale={scale}
          />
        ))}
      </div>
      {ranks.length > SHOWN_RANKS && (
        <button type="button" onClick={() => (isWhole.value = !isWhole.value)}>
          {isWhole.value ? 'only those that are waited for' : `all ${ranks.length} ranks`}
        </button>
      )}
    </Panel>
  );
}

/** Of a run that does not train: what `metrics.jsonl` has of its rank 0, which does not tell whom it waited for. */
function PhasesOfRankZero({ run: { runId, step, status } }: { run: PageRun['run'] }) {
  const from = Math.max(1, step - SHOWN_STEPS + 1);
  const names = ['data', 'compute', 'communication', 'apply'].map((name) => `seconds.${name}`).join(',');
  const path = step === 0 ? undefined : `${runPath(runId, 'curves')}?names=${names}&from=${from}&points=400`;
  const { value } = useApi<PageCurves>(path, status);
  if (value === undefined) return null;
  const at = (name: Phase, index: number) => value.curves[`seconds.${name}`]?.values[index] ?? 0;
  const steps = (value.curves['seconds.compute']?.steps ?? []).map((each, index): RankStep => {
    const [data, compute, communication] = [at('data', index), at('compute', index), at('communication', index)];
    return { step: each, data, compute, communication, waiting: 0, apply: at('apply', index) };
  });
  if (steps.length === 0) return null;
  const columns = steps.map((each) => each.step);
  return (
    <Panel title="Phases of the last steps" aside={<span class="remark">as rank 0 measured them</span>}>
      <Keys />
      <div class="ranks">
        <RankRow
          name="rank 0"
          note=""
          steps={steps}
          columns={columns}
          scale={scaleOf(steps.map(totalOf).sort((a, b) => a - b))}
        />
      </div>
    </Panel>
  );
}

function Keys() {
  return (
    <ul class="keys">
      {PHASES.map(([name, words, color]) => (
        <li key={name}>
          <span class="swatch" style={{ background: color }} /> {words}
        </li>
      ))}
    </ul>
  );
}

interface RankRowProps {
  readonly name: string;
  readonly note: string;
  /** What is wrong with it; default: nothing. */
  readonly trouble?: string | null;
  readonly steps: readonly RankStep[];
  readonly columns: readonly number[];
  /** Seconds of the highest bar. */
  readonly scale: number;
}

function RankRow({ name, note, trouble, steps, columns, scale }: RankRowProps) {
  const byStep = new Map(steps.map((step) => [step.step, step]));
  const spent = PHASES.map(([phase, words]) => `${words} ${duration(meanOf(steps, phase))}`);
  return (
    <div class="rank">
      <p>
        <b>{name}</b> <span class="remark">{note}</span>
        {trouble && <span class="bad"> {trouble}</span>}
        <span class="number">
          {duration(steps.reduce((sum, step) => sum + totalOf(step), 0) / Math.max(1, steps.length))} a step
        </span>
      </p>
      <div class="bars" role="img" aria-label={`${name}, mean of a step: ${spent.join(', ')}`}>
        {columns.map((column) => {
          const step = byStep.get(column);
          if (step === undefined) return <span key={column} class="bar" />;
          const total = totalOf(step);
          const title = PHASES.map(([phase, words]) => `${words} ${duration(step[phase] ?? 0)}`).join(', ');
          return (
            <span key={column} class={total > scale ? 'bar cut' : 'bar'} title={`step ${column}: ${title}`}>
              {PHASES.map(([phase, , color]) => (
                <i
                  key={phase}
                  style={{ height: `${(100 * (step[phase] ?? 0)) / Math.max(scale, total)}%`, background: color }}
                />
              ))}
            </span>
          );
        })}
      </div>
    </div>
  );
}

const totalOf = (step: RankStep) => PHASES.reduce((sum, [phase]) => sum + (step[phase] ?? 0), 0);

/** A step that took ten times as long must not make all others invisible. @param totals ascending */
function scaleOf(totals: readonly number[]): number {
  return Math.max(1e-9, Math.min(totals.at(-1) ?? 0, 3 * (totals[Math.floor(totals.length / 2)] ?? 0)));
}

function meanOf(steps: readonly RankStep[], phase: Phase): number {
  const values = steps.flatMap((step) => step[phase] ?? []);
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
