import type { WeftError } from '@weft/common';
import { type Failure, RunEnded_Outcome, type WorkerMessage } from '@weft/proto';
import type { TrainOutcome } from '@weft/training';

/** Sends one message to the coordinator; after the end of the stream it is dropped. */
export type Send = (body: NonNullable<WorkerMessage['body']>) => void;

/** Which generation of which run a message is about. */
export interface Place {
  readonly runId: string;
  readonly generation: number;
}

export function ended(
  { runId, generation }: Place,
  { outcome, step }: TrainOutcome,
): NonNullable<WorkerMessage['body']> {
  const how = outcome === 'finished' ? RunEnded_Outcome.OUTCOME_FINISHED : RunEnded_Outcome.OUTCOME_STOPPED;
  return { $case: 'runEnded', runEnded: { runId, generation, outcome: how, step, failure: undefined } };
}

export function failed(
  { runId, generation }: Place,
  step: number,
  error: WeftError,
): NonNullable<WorkerMessage['body']> {
  const outcome = RunEnded_Outcome.OUTCOME_FAILED;
  return { $case: 'runEnded', runEnded: { runId, generation, outcome, step, failure: failureOf(error) } };
}

function failureOf({ code, message, cure }: WeftError): Failure {
  return { code, message, cure: cure ?? '' };
}
