import { type ClusterEvent, type ClusterState, type Decision, decide } from '@weft/coordination';
import type { Decide } from './coordinator-process.js';
import type { Invariant } from './violation.js';

/** A `decide` that is wrong in one way, and the invariants of which one must notice. */
export interface Mutation {
  readonly decideWith: Decide;
  readonly noticedBy: readonly Invariant[];
}

const withEvent =
  (change: (event: ClusterEvent, state: ClusterState) => ClusterEvent): Decide =>
  (nowMs, state, event, lookups) =>
    decide(nowMs, state, change(event, state), lookups);

const withDecision =
  (change: (decision: Decision) => Decision): Decide =>
  (...parts) =>
    change(decide(...parts));

/** Ways in which a coordinator could be wrong. Each is found within a few simulated hours. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'counts the votes of older generations': {
    decideWith: withEvent((event, state) => {
      if (event.kind !== 'voted') return event;
      const live = state.runs.get(event.runId)?.live;
      return live?.state === 'training' ? { ...event, generation: live.generation } : event;
    }),
    noticedBy: ['quorum', 'failure', 'model'],
  },
  'commits with the first vote': {
    decideWith: (nowMs, state, event, lookups) => {
      const live = event.kind === 'voted' ? state.runs.get(event.runId)?.live : undefined;
      const first = decide(nowMs, state, event, lookups);
      if (event.kind !== 'voted' || live?.state !== 'training' || live.generation !== event.generation) return first;
      return live.members.reduce((before: Decision, workerId): Decision => {
        if (workerId === event.workerId) return before;
        const next = decide(nowMs, before.state, { ...event, workerId }, lookups);
        const { records, commands } = before;
        return { ...next, records: [...records, ...next.records], commands: [...commands, ...next.commands] };
      }, first);
    },
    noticedBy: ['quorum', 'failure'],
  },
  'lets everybody keep a state that only some have': {
    decideWith: withDecision((decision) => ({
      ...decision,
      commands: decision.commands.map((command) =>
        command.kind === 'assign' && command.startFrom.kind === 'keep' ? { ...command, newcomers: [] } : command,
      ),
    })),
    noticedBy: ['model'],
  },
  'does not tell the log that a run went back': {
    decideWith: withDecision((decision) => ({
      ...decision,
      records: decision.records.filter(({ record }) => record.kind !== 'resumed'),
    })),
    noticedBy: ['sequences', 'replay', 'failure', 'model'],
  },
  'never forms a ring again': {
    decideWith: (nowMs, state, event, lookups) => {
      const decision = decide(nowMs, state, event, lookups);
      const isAgain = decision.records.some(({ record }) => record.kind === 'assigned' && record.state === 'keep');
      return isAgain ? { state, records: [], commands: [], reason: '' } : decision;
    },
    noticedBy: ['progress'],
  },
  'takes its own standstill for the silence of others': {
    decideWith: (nowMs, state, event, lookups) => {
      const { lastTickMs = nowMs } = state;
      return decide(nowMs, { ...state, lastTickMs: Math.max(lastTickMs, nowMs) }, event, lookups);
    },
    noticedBy: ['blame'],
  },
};
