import { isJsonObject, type JsonObject, mapSources, type PerSource } from '@weft/common';
import type { HeldOutLoss } from './held-out-loss.js';
import { expertImbalance, type MoeLayerStats, type MoeReport } from './moe-report.js';
import type { ScoreAverages } from './task-scores.js';

/** One line of `metrics.jsonl`: a committed step. The measurements of rank 0 are null when its report was lost with it. */
export interface MetricsRow {
  readonly step: number;
  /** Null where it was not finite. */
  readonly loss: number | null;
  readonly learningRate: number | null;
  readonly gradNorm: number | null;
  readonly tokensPerSecond: number | null;
  /** Model FLOP/s utilization; absent where the peak of the devices is not known. */
  readonly mfu?: number | null;
  /** Mean loss of each source that the step had text tokens of; absent where the task does not tell. */
  readonly sourceLoss?: PerSource<number | null>;
  /** Sequences this step consumed. */
  readonly sequences: PerSource<number>;
  readonly seconds: {
    readonly data: number | null;
    readonly compute: number | null;
    readonly communication: number | null;
    readonly apply: number | null;
  };
  /** Only after steps that were followed by an evaluation. A loss is null where it was not finite. */
  readonly heldOut?: Omit<HeldOutLoss, 'loss'> & { readonly loss: number | null };
  /** Only after steps whose tasks were scored. */
  readonly taskScores?: TaskScoresRow;
  /** Numbers of the task's own, by name, such as its accuracy; only of tasks that have some. Null where one was not finite. */
  readonly measures?: Readonly<Record<string, number | null>>;
  /** Only of models with MoE layers. */
  readonly moe?: MoeReport;
  readonly generation: number;
  /** When the step was committed, ISO 8601 in UTC. */
  readonly time: string;
}

/** The scores of tasks in a row: by task, or over tasks, and by the number of shots. Null where one was not finite. */
export interface TaskScoresRow extends Readonly<Record<keyof ScoreAverages, ShotScores>> {
  readonly scores: Readonly<Record<string, ShotScores>>;
  readonly seconds: number;
}

type ShotScores = Readonly<Record<string, number | null>>;

/**
 * Reads a line of `metrics.jsonl`. Fields that an older version did not write have neutral values.
 *
 * @returns undefined for a line that is incomplete or not a row
 */
export function parseMetricsRow(line: string): MetricsRow | undefined {
  const raw = parseObject(line);
  const step = numberOrNull(raw?.step);
  if (raw === undefined || step === null) return undefined;
  const sequences = asObject(raw.sequences);
  const seconds = asObject(raw.seconds);
  const moe = raw.moe ?? raw.experts;
  return {
    step,
    loss: numberOrNull(raw.loss),
    learningRate: numberOrNull(raw.learningRate),
    gradNorm: numberOrNull(raw.gradNorm),
    tokensPerSecond: numberOrNull(raw.tokensPerSecond),
    ...(typeof raw.mfu === 'number' ? { mfu: raw.mfu } : {}),
    ...(isJsonObject(raw.sourceLoss) ? { sourceLoss: mapSources(raw.sourceLoss, numberOrNull) } : {}),
    sequences: mapSources(sequences, number),
    seconds: {
      data: numberOrNull(seconds.data),
      compute: numberOrNull(seconds.compute),
      communication: numberOrNull(seconds.communication),
      apply: numberOrNull(seconds.apply),
    },
    ...(isJsonObject(raw.heldOut) ? { heldOut: parseHeldOut(raw.heldOut) } : {}),
    ...(isJsonObject(raw.taskScores) ? { taskScores: parseTaskScores(raw.taskScores) } : {}),
    ...(isJsonObject(raw.measures) ? { measures: mapSources(raw.measures, numberOrNull) } : {}),
    ...(isJsonObject(moe) ? { moe: parseMoe(moe) } : {}),
    generation: numberOrNull(raw.generation) ?? 1,
    time: typeof raw.time === 'string' ? raw.time : '',
  };
}

/** When the step was committed, milliseconds since the Unix epoch; 0 when the row has no time. */
export const committedAtMs = ({ time }: Pick<MetricsRow, 'time'>): number => Date.parse(time) || 0;

function parseHeldOut(raw: JsonObject): NonNullable<MetricsRow['heldOut']> {
  const sources = asObject(raw.sources);
  return {
    loss: numberOrNull(raw.loss),
    sources: mapSources(sources, numberOrNull),
    seconds: number(raw.seconds),
  };
}

function parseTaskScores(raw: JsonObject): TaskScoresRow {
  const byShots = (value: unknown): ShotScores => mapSources(asObject(value), numberOrNull);
  return {
    scores: mapSources(asObject(raw.scores), byShots),
    average: byShots(raw.average),
    textAverage: byShots(raw.textAverage),
    seconds: number(raw.seconds),
  };
}

function parseMoe(raw: JsonObject): MoeReport {
  return {
    layers: asList(raw.layers).map((layer) => parseMoeLayer(asObject(layer))),
    bytesSent: number(raw.bytesSent),
    bytesReceived: number(raw.bytesReceived),
    waitingSeconds: number(raw.waitingSeconds),
  };
}

function parseMoeLayer(raw: JsonObject): MoeLayerStats {
  const routed = asList(raw.routed).map(number);
  return {
    layer: number(raw.layer),
    tokens: number(raw.tokens),
    routed,
    dropped: asList(raw.dropped).map(number),
    droppedShare: number(raw.droppedShare),
    imbalance: numberOrNull(raw.imbalance) ?? expertImbalance(routed),
    routerEntropy: number(raw.routerEntropy),
    loadBalanceLoss: number(raw.loadBalanceLoss),
    routerZLoss: number(raw.routerZLoss),
  };
}

function parseObject(line: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const asObject = (value: unknown): JsonObject => (isJsonObject(value) ? value : {});
const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const numberOrNull = (value: unknown): number | null => (typeof value === 'number' ? value : null);
const number = (value: unknown): number => numberOrNull(value) ?? 0;
