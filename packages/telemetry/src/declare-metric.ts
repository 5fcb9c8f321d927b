/** One series. */
export interface MetricDeclaration<Kind extends MetricKind = MetricKind, Label extends string = string> {
  readonly name: string;
  readonly kind: Kind;
  /** A base unit, or what is counted. */
  readonly unit: string;
  readonly help: string;
  readonly labels: readonly Label[];
  /** Upper bounds of a histogram. */
  readonly buckets: readonly number[];
}

type MetricKind = 'counter' | 'gauge' | 'histogram';

/** What the values of each label are, and what bounds them. */
export const LABELS = {
  run: 'the id of a run; runs that ended more than an hour ago are left out',
  source: 'a source of the run’s data, as its configuration names them',
  task: 'a task of the run’s evaluation',
  shots: 'solved examples before the one that is asked',
  measure: 'what the task of the run measures, by its own names',
  layer: 'a MoE layer of the decoder',
  expert: 'an expert of the layer',
  rank: 'a rank of the ring, from 0',
  bucket:
    'what time was spent on: queued, starting, compiling, waitingForData, computing, communicating, waitingForStraggler, waitingForExperts, checkpointing, evaluating, recovering, redoingLostWork, idle',
  phase: 'data, compute, communication, apply',
  status: 'queued, running, stopping, finished, stopped, failed',
  state: 'idle or busy; of jobs waiting, delayed, paused, waitingForChildren, active',
  role: 'rank or expertWorker',
  reason: 'why a sample was left out of the index, one of those that `weft data index` knows',
  recipe: 'the recipe of a run',
  version: 'of Weft',
  node_version: 'of Node',
  run_id: 'the id of the run',
} as const;

/** A label of some series. */
export type MetricLabel = keyof typeof LABELS;

/** A number that goes up and down. */
export function gauge<Label extends MetricLabel = never>(
  name: string,
  unit: string,
  help: string,
  labels: readonly Label[] = [],
): MetricDeclaration<'gauge', Label> {
  return { name, kind: 'gauge', unit, help, labels, buckets: [] };
}

/** A number that only grows; its name ends in `_total`. */
export function counter<Label extends MetricLabel = never>(
  name: string,
  unit: string,
  help: string,
  labels: readonly Label[] = [],
): MetricDeclaration<'counter', Label> {
  return { name, kind: 'counter', unit, help, labels, buckets: [] };
}

/** How often values lay under each of some bounds. */
export function histogram<Label extends MetricLabel = never>(
  name: string,
  unit: string,
  help: string,
  buckets: readonly number[],
  labels: readonly Label[] = [],
): MetricDeclaration<'histogram', Label> {
  return { name, kind: 'histogram', unit, help, labels, buckets };
}
