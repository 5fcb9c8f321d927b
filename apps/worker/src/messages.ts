import type { WeftError } from '@weft/common';
import type { RunGeneration } from '@weft/contracts';
import { type Failure, RunEnded_Outcome, type WorkerMessage } from '@weft/proto';
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
