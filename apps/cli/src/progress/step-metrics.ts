import { perSource } from '@weft/common';
import type { MetricsRow } from '@weft/coordination';
import { parseExperts } from './expert-metrics.js';
import { isObject, numberOf, objectOf } from './raw-fields.js';

/** One line of `metrics.jsonl`. */
export type StepMetrics = MetricsRow;

/** Reads one line of `metrics.jsonl`; `undefined` for a line that is torn or not a metrics line. */
export function parseStepMetrics(line: string): StepMetrics | undefined {
  const raw = parseObject(line);
  const step = numberOf(raw?.step);
  if (raw === undefined || step === null) return undefined;
  const sequences = objectOf(raw.sequences);
  const seconds = objectOf(raw.seconds);
  return {
    step,
    loss: numberOf(raw.loss),
    learningRate: numberOf(raw.learningRate),
    gradNorm: numberOf(raw.gradNorm),
    tokensPerSecond: numberOf(raw.tokensPerSecond),
    sequences: perSource((source) => numberOf(sequences[source]) ?? 0),
    seconds: {
      data: numberOf(seconds.data),
      compute: numberOf(seconds.compute),
      communication: numberOf(seconds.communication),
      apply: numberOf(seconds.apply),
    },
    ...(isObject(raw.heldOut) ? { heldOut: heldOutOf(raw.heldOut) } : {}),
    ...(isObject(raw.experts) ? { experts: parseExperts(raw.experts) } : {}),
    generation: numberOf(raw.generation) ?? 1,
    time: typeof raw.time === 'string' ? raw.time : '',
  };
}

function heldOutOf(raw: Record<string, unknown>): NonNullable<StepMetrics['heldOut']> {
  const sources = objectOf(raw.sources);
  return {
    loss: numberOf(raw.loss),
    sources: perSource((source) => numberOf(sources[source])),
    seconds: numberOf(raw.seconds) ?? 0,
  };
}

/** When the step was committed, milliseconds since the Unix epoch; 0 where the line does not say. */
export const timeMsOf = ({ time }: StepMetrics): number => Date.parse(time) || 0;

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
