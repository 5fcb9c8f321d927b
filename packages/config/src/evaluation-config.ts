/** Validation on held-out data. Which sequences are held out follows from the data alone, so that runs compare. */
export interface EvaluationConfig {
  /** Measured after every so many steps and after the last one; 0: after the last one only. */
  readonly everySteps: number;
  /** Sequences of each source with a weight that are never trained on; 0: none, and nothing is measured. */
  readonly sequencesPerSource: number;
}

/** What a run is given that says nothing of evaluation, also one that an older version launched. */
export const DEFAULT_EVALUATION: EvaluationConfig = { everySteps: 0, sequencesPerSource: 0 };
