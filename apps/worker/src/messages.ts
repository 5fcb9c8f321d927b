import type { WeftError } from '@weft/common';
import type { RunGeneration } from '@weft/contracts';
import { type Failure, RunEnded_Outcome, type WorkerMessage } from '@weft/proto';
import type { RecordedSpan } from '@weft/telemetry';
import type { TrainOutcome } from '@weft/training';

/** A message to the coordinator. */
export type Body = NonNullable<WorkerMessage['body']>;

/** Sends one message to the coordinator; without a stream the message is dropped. */
export type Send = (body: Body) => void;

/** The message that training ended as planned. */
export function ended({ runId, generation }: RunGeneration, { outcome, step }: TrainOutcome): Body {
  const how = outcome === 'finished' ? RunEnded_Outcome.OUTCOME_FINISHED : RunEnded_Outcome.OUTCOME_STOPPED;
  return { $case: 'runEnded', runEnded: { runId, generation, outcome: how, step, failure: undefined } };
}

/** The message that training failed after `step`. */
export function failed({ runId, generation }: RunGeneration, step: number, error: WeftError): Body {
  const outcome = RunEnded_Outcome.OUTCOME_FAILED;
  return { $case: 'runEnded', runEnded: { runId, generation, outcome, step, failure: failureOf(error) } };
}

/** An error on the wire. */
export function failureOf({ code, message, hint }: WeftError): Failure {
  return { code, message, hint: hint ?? '' };
}

/** Whether another process may be the cause; the coordinator then finds out which workers are left. */
export function isPeerFailure({ code }: WeftError, hadJoined: boolean): boolean {
  if (code === 'unavailable' || code === 'deadline_exceeded') return true;
  return !hadJoined && (code === 'failed_precondition' || code === 'cancelled');
}

/** So many spans go into one message. */
const SPANS_PER_MESSAGE = 2000;

/** Sends what was recorded for a profile, in several messages where it is much. */
export function sendProfile(send: Send, profileId: string, spans: readonly RecordedSpan[], leftOut: number): void {
  for (let first = 0; ; first += SPANS_PER_MESSAGE) {
    const some = spans.slice(first, first + SPANS_PER_MESSAGE).map(({ details, ...span }) => {
      const isPlain = Object.keys(details).length === 0;
      return { ...span, detailsJson: isPlain ? '' : JSON.stringify(details) };
    });
    const isLast = first + SPANS_PER_MESSAGE >= spans.length;
    send({ $case: 'profilePart', profilePart: { profileId, spans: some, leftOut: isLast ? leftOut : 0, isLast } });
    if (isLast) return;
  }
}
