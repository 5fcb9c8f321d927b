import { median } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { StepVote } from '@weft/contracts';
import type { DecisionBuilder } from './decision-builder.js';
import type { Straggler } from './records.js';
import type { RunState } from './run-state.js';

/** Who is slower by less is no straggler, however short the steps are. */
const LEAST_SECONDS = 0.05;

/** How many times as long as the others each rank took by itself, without what it waited for them. */
function slowness(votes: readonly StepVote[]): readonly { readonly factor: number; readonly isSlow: boolean }[] {
  const own = votes.map(({ dataSeconds = 0, computeSeconds = 0 }) => dataSeconds + computeSeconds);
  const sorted = own.toSorted((a, b) => a - b);
  return own.map((seconds) => {
    const usual = own.length === 1 ? seconds : medianWithout(sorted, seconds);
    return { factor: usual > 0 ? seconds / usual : 1, isSlow: seconds - usual > LEAST_SECONDS };
  });
}

/** The median of sorted values without one of them. */
function medianWithout(sorted: readonly number[], value: number): number {
  const at = sorted.indexOf(value);
  const others = (index: number) => sorted[index < at ? index : index + 1]!;
  const middle = (sorted.length - 2) / 2;
  return (others(Math.floor(middle)) + others(Math.ceil(middle))) / 2;
}

/** By rank, how many steps in a row it was slow, after one more. */
export function learnSlowSteps(
  before: readonly number[] = [],
  votes: readonly StepVote[],
  { factor: least }: RunConfig['stragglers'],
): readonly number[] {
  return slowness(votes).map(({ factor, isSlow }, rank) => (isSlow && factor >= least ? (before[rank] ?? 0) + 1 : 0));
}

/**
 * Names the ranks that were slow for as many steps as the configuration says, once in every such streak. With the policy
 * `leaveOut` they go at the end of this step, and are not asked again while they are connected.
 *
 * @param votes of the step that was just committed
 */
export function nameStragglers(
  builder: DecisionBuilder,
  { runId, step, config, generation }: RunState,
  votes: readonly StepVote[],
): readonly string[] {
  const { live } = builder.run(runId);
  if (live.state !== 'training') return [];
  const { steps, policy } = config.stragglers;
  const { slowSteps = [], members } = live;
  const named = members.flatMap((workerId, rank) => (slowSteps[rank] === steps ? [{ workerId, rank }] : []));
  let left = members.length;
  return named.flatMap(({ workerId, rank }) => {
    const worker = builder.worker(workerId);
    if (worker === undefined) return [];
    const isLeftOut = policy === 'leaveOut' && left - 1 >= Math.max(1, config.minWorkers ?? 1);
    if (isLeftOut) {
      left--;
      builder.changeWorker(workerId, { unfitFor: [...(worker.unfitFor ?? []), runId] });
    }
    const factor = Number(slowness(votes)[rank]!.factor.toFixed(2));
    const where = { generation, rank, workerId, hostName: worker.hostName, step, steps, factor };
    const record: Omit<Straggler, 'time'> = {
      kind: 'straggler',
      ...where,
      part: slowerPart(votes, rank),
      ...(isLeftOut ? { isLeftOut } : {}),
    };
    builder.record(runId, record);
    const sentence = describeStraggler(record);
    builder.command({ kind: 'notify', runId, sentence });
    return [sentence];
  });
}

/** What it spent more time on than the others. */
function slowerPart(votes: readonly StepVote[], rank: number): Straggler['part'] {
  const more = (of: 'dataSeconds' | 'computeSeconds') => {
    const others = votes.flatMap((vote, other) => (other === rank ? [] : (vote[of] ?? 0)));
    return (votes[rank]![of] ?? 0) - median(others);
  };
  return more('dataSeconds') > more('computeSeconds') ? 'data' : 'compute';
}

/** One sentence without its full stop. */
export function describeStraggler(straggler: Omit<Straggler, 'time'>): string {
  const { rank, workerId, hostName, steps, step, factor, part, isLeftOut } = straggler;
  const most = part === 'data' ? 'most of it for data' : 'most of it computing';
  const consequence = isLeftOut ? '; the run goes on without it' : '';
  return `rank ${rank} (${workerId} on ${hostName}) was slow for ${steps} steps in a row: it took ${factor} times as long as the others in step ${step}, ${most}${consequence}`;
}
