/**
 * The id of a run's job. A job has one life: a run that is resumed after its end gets another one.
 * No run id holds a dot, so a job id says whose it is.
 */
export function jobIdOf({ runId, resubmissions }: { readonly runId: string; readonly resubmissions: number }): string {
  return resubmissions === 0 ? `run.${runId}` : `run.${runId}.${resubmissions + 1}`;
}

export function sweepJobId(sweepId: string): string {
  return `sweep.${sweepId}`;
}

/** The id of the run, or of the sweep, that a job stands for. */
export function ownerOf(jobId: string): string {
  return jobId.split('.')[1] ?? jobId;
}
