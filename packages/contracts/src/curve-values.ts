import { committedAtMs, type MetricsRow } from './metrics-row.js';

/**
 * The numbers of a row by the name of their curve. What a row lacks, and what was not finite, is left out.
 *
 * | name | what |
 * |---|---|
 * | `loss`, `loss.<source>` | mean loss of the step in nats per loss token, and that of a source |
 * | `learningRate`, `gradNorm`, `tokensPerSecond`, `mfu` | of the step |
 * | `measure.<name>` | another measure of the step, which its task names |
 * | `seconds.data`, `seconds.compute`, `seconds.communication`, `seconds.apply` | where rank 0 spent the step |
 * | `sequences.<source>` | sequences of the step |
 * | `heldOut`, `heldOut.<source>` | held-out loss, after the steps that were evaluated |
 * | `score.<task>.<shots>` | score of a task |
 * | `moe.<layer>.droppedShare`, `.imbalance`, `.routerEntropy`, `.loadBalanceLoss`, `.routerZLoss` | of a layer of experts |
 * | `generation`, `time` | number of the ring; when the step was committed, milliseconds since the Unix epoch |
 */
export function curveValues(row: MetricsRow): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  const add = (name: string, value: number | null | undefined) => {
    if (value !== null && value !== undefined && Number.isFinite(value)) values.set(name, value);
  };
  const addEach = (prefix: string, record: Readonly<Record<string, number | null>> = {}) => {
    for (const name in record) add(`${prefix}.${name}`, record[name]);
  };
  add('loss', row.loss);
  add('learningRate', row.learningRate);
  add('gradNorm', row.gradNorm);
  add('tokensPerSecond', row.tokensPerSecond);
  add('mfu', row.mfu);
  addEach('loss', row.sourceLoss);
  addEach('measure', row.measures);
  addEach('seconds', row.seconds);
  addEach('sequences', row.sequences);
  if (row.heldOut !== undefined) {
    add('heldOut', row.heldOut.loss);
    addEach('heldOut', row.heldOut.sources);
  }
  for (const [task, byShots] of Object.entries(row.taskScores?.scores ?? {})) addEach(`score.${task}`, byShots);
  for (const { layer, droppedShare, imbalance, routerEntropy, loadBalanceLoss, routerZLoss } of row.moe?.layers ?? [])
    addEach(`moe.${layer}`, { droppedShare, imbalance, routerEntropy, loadBalanceLoss, routerZLoss });
  add('generation', row.generation);
  add('time', committedAtMs(row) || undefined);
  return values;
}
