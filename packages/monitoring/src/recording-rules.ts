import type { Durations } from './durations.js';
import { run, worker } from './metric-names.js';

/** Names of what Prometheus computes ahead, by `level:metric:operations`. */
export const RECORDED = {
  stepAge: 'weft:run_step_age:seconds',
  checkpointAge: 'weft:run_checkpoint_age:seconds',
  preparing: 'weft:run_preparing:workers',
  timeShare: 'weft:run_time:share5m',
  goodput: 'weft:run_goodput:ratio30m',
  stepQuantile: 'weft:worker_step_seconds:p95',
  tokenRate: 'weft:run_tokens:rate5m',
} as const;

interface RecordingRule {
  readonly name: string;
  readonly expression: string;
}

const MINUTE = 60;

/** What alerts and dashboards would else compute again and again. */
export function recordingRules(durations: Durations): readonly RecordingRule[] {
  const within = (seconds: number) => durations.of(seconds);
  const rate = (selector: string, seconds: number) => `rate(${selector}[${within(seconds)}])`;
  return [
    // As of the scrape: since then nothing is known, so it is not counted as time without a step.
    { name: RECORDED.stepAge, expression: `timestamp(${run.stepTime}) - ${run.stepTime}` },
    { name: RECORDED.checkpointAge, expression: `timestamp(${run.checkpointTime}) - ${run.checkpointTime}` },
    {
      name: RECORDED.preparing,
      expression: `sum without (bucket) (${rate(`${run.time}{bucket=~"starting|compiling|evaluating"}`, MINUTE)})`,
    },
    {
      name: RECORDED.timeShare,
      expression: `${rate(run.time, 5 * MINUTE)}\n  / ignoring (bucket) group_left () sum without (bucket) (${rate(run.time, 5 * MINUTE)})`,
    },
    {
      name: RECORDED.goodput,
      expression: [
        `sum without (bucket) (${rate(`${run.time}{bucket=~"computing|communicating|evaluating"}`, 30 * MINUTE)})`,
        `  / sum without (bucket) (${rate(`${run.time}{bucket!="queued"}`, 30 * MINUTE)})`,
      ].join('\n'),
    },
    {
      name: RECORDED.stepQuantile,
      expression: `histogram_quantile(0.95, ${rate(`${worker.stepDuration}_bucket`, 5 * MINUTE)})`,
    },
    { name: RECORDED.tokenRate, expression: rate(run.lossTokens, 5 * MINUTE) },
  ];
}
