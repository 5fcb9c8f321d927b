import type { WeftError } from '@weft/common';
import type { RunGeneration } from '@weft/contracts';
import { type Failure, RunEnded_Outcome, type WorkerMessage } from '@weft/proto';
import type { TrainOutcome } from '@weft/training';

/** Sends one message to the coordinator; after the end of the stream the message is dropped. */
export type Send = (body: NonNullable<WorkerMessage['body']>) => void;

/** The message that training ended as planned. */
export function ended(
  { runId, generation }: RunGeneration,
  { outcome, step }: TrainOutcome,
): NonNullable<WorkerMessage['body']> {
  const how = outcome === 'finished' ? RunEnded_Outcome.OUTCOME_FINISHED : RunEnded_Outcome.OUTCOME_STOPPED;
  return { $case: 'runEnded', runEnded: { runId, generation, outcome: how, step, failure: undefined } };
}

/** The message that training failed after `step`. */
export function failed(
  { runId, generation }: RunGeneration,
  step: number,
  error: WeftError,
): NonNullable<WorkerMessage['body']> {
  const outcome = RunEnded_Outcome.OUTCOME_FAILED;
  return { $case: 'runEnded', runEnded: { runId, generation, outcome, step, failure: failureOf(error) } };
}

function failureOf({ code, message, hint }: WeftError): Failure {
  return { code, message, hint: hint ?? '' };
}
