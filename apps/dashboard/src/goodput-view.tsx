import { duration, percent } from '@weft/common';
import {
  hasEnded,
  type PageRun,
  type RunGoodput,
  TIME_BUCKET_NAMES,
  TIME_BUCKETS,
  type TimeBucket,
  totalSeconds,
} from '@weft/contracts';
import { runPath } from './api.js';
import { nowMs } from './live.js';
import { Empty, Figure, Panel } from './parts.js';
import { useApi } from './use-api.js';

/** The colour of a bucket: blue and green made the model better, all else did not. */
const COLORS: Readonly<Record<TimeBucket, string>> = {
  computing: 'var(--line-1)',
  communicating: 'var(--line-7)',
  evaluating: 'var(--line-3)',
  waitingForData: 'var(--line-2)',
  waitingForStraggler: 'var(--bad)',
  waitingForExperts: 'var(--line-4)',
  checkpointing: 'var(--line-5)',
  compiling: 'var(--line-6)',
  starting: 'var(--ink-2)',
  recovering: 'var(--warn)',
  redoingLostWork: 'var(--bad)',
  idle: 'var(--edge)',
  queued: 'var(--idle-soft)',
};

/** What a bucket tells: the words beside it in the table. */
const MEANINGS: Readonly<Record<TimeBucket, string>> = {
  computing: 'forward and backward pass, the optimizer',
  communicating: 'the all-reduce that nothing hides, the vote, the decision',
  evaluating: 'held-out losses and scores',
  waitingForData: 'the batch was not read yet: more threads or faster storage help',
  waitingForStraggler: 'another rank still computed: Workers shows which one',
  waitingForExperts: 'no answer of an expert worker: more of them, or more microbatches in flight, help',
  checkpointing: 'training stood still for a checkpoint',
  compiling: 'phases ran for the first time',
  starting: 'joining the ring, opening data and engine',
  recovering: 'from a lost worker or a restart to the next step',
  redoingLostWork: 'steps that had been trained before: checkpoints in shorter intervals make it less',
  idle: 'an expert worker had nothing to do',
  queued: 'the run waited for its first workers',
};

/** Where every second of the workers went. */
export function GoodputView({ shown: { run } }: { shown: PageRun }) {
  const again = hasEnded(run) ? run.status : Math.floor(nowMs.value / 3000);
  const { value } = useApi<RunGoodput | null>(runPath(run.runId, 'goodput'), again);
  if (value === undefined) return <p class="loading">Reading where the time went …</p>;
  const total = value === null ? 0 : totalSeconds(value.spent);
  if (value === null || total === 0) return <Empty>The time of this run was not measured.</Empty>;
  const { spent, goodput, cost, times } = value;
  const buckets = TIME_BUCKETS.filter((bucket) => spent[bucket] > 0);
  const bySize = buckets.toSorted((a, b) => spent[b] - spent[a]);
  return (
    <Panel title="Where every second went">
      <dl class="figures">
        <Figure name="goodput" value={goodput === null ? '–' : percent(goodput)} note="of the time after the queue" />
        <Figure
          name="time of workers"
          value={duration(total)}
          note={`${(times.heldSeconds / 3600).toFixed(2)} worker hours`}
        />
        {cost !== null && <Figure name="cost" value={cost.toFixed(2)} note="at the price of the coordinator" />}
        {value.secondsPerStep !== null && (
          <Figure name="a step" value={duration(value.secondsPerStep)} note="median of the last" />
        )}
      </dl>
      <div class="stack tall" aria-hidden="true">
        {buckets.map((bucket) => (
          <span
            key={bucket}
            style={{ flexGrow: (1000 * spent[bucket]) / total, background: COLORS[bucket] }}
            title={`${TIME_BUCKET_NAMES[bucket]}: ${share(spent[bucket], total)}`}
          />
        ))}
      </div>
      <div class="scroll">
        <table class="list">
          <thead>
            <tr>
              <th scope="col">spent on</th>
              <th scope="col" class="number">
                share
              </th>
              <th scope="col" class="number">
                time
              </th>
              <th scope="col">what it is</th>
            </tr>
          </thead>
          <tbody>
            {bySize.map((bucket) => (
              <tr key={bucket}>
                <th scope="row">
                  <span class="swatch" style={{ background: COLORS[bucket] }} /> {TIME_BUCKET_NAMES[bucket]}
                </th>
                <td class="number">{share(spent[bucket], total)}</td>
                <td class="number">{duration(spent[bucket])}</td>
                <td class="reason">{MEANINGS[bucket]}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

const share = (seconds: number, total: number) => `${((100 * seconds) / total).toFixed(1)} %`;
