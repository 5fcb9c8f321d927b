import { isDeepStrictEqual } from 'node:util';
import { WeftError } from '@weft/common';
import { type MixtureChange, type RunConfig, resolveRunConfig, reweighted } from '@weft/config';
import { batchOfStep } from '@weft/topology';
import type { MembershipChange } from './admission.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { describeChange, mixtureAt, withMixtureChange } from './mixture-change.js';
import type { RunState } from './run-state.js';

/**
 * Changes the mixture of a run from a step on. What it has consumed counts on: no sequence is repeated or left out. The members of a
 * run that trains get to know of it at that step, in a generation of their own.
 *
 * @throws WeftError `failed_precondition` for a step that is committed or being trained, and for an older version of the index;
 *   `invalid_argument` for wrong weights and for a step behind the last one
 */
export function changeMixture(builder: DecisionBuilder, event: EventOf<'changeMixture'>): string {
  const { runId, fromStep, weights: asked, indexVersion, reason } = event;
  const { state, live } = builder.run(runId);
  const { config, step } = state;
  // The members have its batch already.
  const first = live.state === 'training' ? step + 2 : step + 1;
  if (fromStep <= step)
    throw new WeftError('failed_precondition', `step ${fromStep} of run ${runId} is committed: it has its data`, {
      hint: `change the mixture from step ${first} on`,
    });
  if (fromStep < first)
    throw new WeftError('failed_precondition', `step ${fromStep} of run ${runId} is being trained`, {
      hint: `change the mixture from step ${first} on`,
    });
  if (fromStep > config.steps)
    throw new WeftError('invalid_argument', `run ${runId} ends with step ${config.steps}, before step ${fromStep}`, {
      hint:
        first > config.steps
          ? `give it more steps with \`weft resume ${runId} --steps N\`, and change its mixture then`
          : `ask for a step from ${first} to ${config.steps}, or give it more with \`weft resume ${runId} --steps N\``,
    });
  const change = mixtureChangeAt(config, fromStep, { asked, indexVersion });
  resolveRunConfig({ ...config, data: withMixtureChange(config.data, change) }, 'the changed mixture');
  const after = builder.record(runId, { kind: 'mixtureChanged', fromStep, change, reason });
  builder.command({ kind: 'writeConfig', runId, config: after.config });
  return `the mixture of run ${runId} changes from step ${fromStep} on: ${describeChange(change)}`;
}

/**
 * The change of a run's mixture from a step on.
 *
 * @param wanted weights as a person writes them, none where they stay; the version of the index, undefined where it stays
 * @throws WeftError as `changeMixture`
 */
function mixtureChangeAt(
  { data }: Pick<RunConfig, 'data'>,
  step: number,
  {
    asked,
    indexVersion,
  }: { readonly asked: Readonly<Record<string, string>>; readonly indexVersion: number | undefined },
): MixtureChange {
  const fromBatch = batchOfStep(step, data.skippedBatches);
  const now = mixtureAt(data, fromBatch);
  const weights = Object.keys(asked).length === 0 ? now.weights : reweighted({ ...data, weights: now.weights }, asked);
  return { fromBatch, weights, indexVersion: newVersion(now.indexVersion, indexVersion) };
}

/** @throws WeftError `failed_precondition` for an older version, and where nobody knows which one the run reads */
export function newVersion(now: number | null, wanted: number | undefined): number | null {
  if (wanted === undefined || wanted === now) return now;
  if (now === null)
    throw new WeftError(
      'failed_precondition',
      'the run does not say which version of the data index it reads, so that a newer one could change what its numbers mean',
      { hint: 'begin a new run, with `weft launch` or with data.indexVersion set' },
    );
  if (wanted < now)
    throw new WeftError(
      'failed_precondition',
      `the run reads version ${now} of the data index: the sequences that version ${wanted} lacks are part of its order`,
      { hint: `give version ${now} or a later one` },
    );
  return wanted;
}

/** The ring forms anew, of the same members, where the next step has a mixture they do not know of; undefined: it need not. */
export function mixtureIsDue(builder: DecisionBuilder, runId: string): MembershipChange | undefined {
  const { state, live } = builder.run(runId);
  const goesOn = live.state === 'training' && live.stopAfterStep === undefined && state.step < state.config.steps;
  return goesOn && hasOtherMixture(state) ? { leavers: [], newcomers: [], experts: live.experts } : undefined;
}

/** Whether the members of the newest generation would take the next step by another mixture than that of the log. */
export function hasOtherMixture({ config, knownChanges, step }: RunState): boolean {
  const batch = batchOfStep(step + 1, config.data.skippedBatches);
  const until = (changes: RunConfig['data']['mixtureChanges']) => changes.filter(({ fromBatch }) => fromBatch <= batch);
  return !isDeepStrictEqual(until(config.data.mixtureChanges), until(knownChanges));
}
