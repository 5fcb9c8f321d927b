import type { Durations } from './durations.js';
import { coordinator, JOBS, run, worker } from './metric-names.js';
import { RECORDED } from './recording-rules.js';

/** An alert as it is written, before it is scaled. */
export interface Alert {
  readonly name: string;
  /** PromQL; the alert is there while it has a result. */
  readonly expression: string;
  /** How long it must have been so. */
  readonly forSeconds: number;
  /** `page`: a person should look now. `warning`: within the day. */
  readonly severity: 'page' | 'warning';
  /** Templates of Prometheus: one line, and what to know of it. */
  readonly summary: string;
  readonly description: string;
  /** Its page in `docs/runbooks`. */
  readonly runbook: string;
}

/** A run that has workers and no end yet. Its other series have the same labels but `status`. */
const RUNNING = `${run.status}{status="running"} == 1`;
const isRunning = `and ignoring (status) ${RUNNING}`;

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** Every alert. Bounds are for any run; what a run does is measured against itself. */
export function alerts(durations: Durations): readonly Alert[] {
  const within = (seconds: number) => durations.of(seconds);
  const seconds = (each: number) => durations.seconds(each);
  const lost = `increase(${run.workersLost}[${within(5 * MINUTE)}]) > 0`;
  return [
    {
      name: 'WeftRunStalled',
      // A run whose workers compile or evaluate takes its time, and it says so.
      expression: [
        `(`,
        `    ${RECORDED.stepAge} > clamp_min(3 * ${run.medianStep}, ${seconds(MINUTE)})`,
        `      unless ${RECORDED.preparing} > 0`,
        `  or`,
        `    ${RECORDED.stepAge} > clamp_min(3 * ${run.medianStep}, ${seconds(HOUR / 2)})`,
        `  or`,
        `    ${RECORDED.stepAge} > ${seconds(HOUR / 2)} unless ${run.medianStep}`,
        `)`,
        isRunning,
      ].join('\n'),
      forSeconds: 0,
      severity: 'page',
      summary: 'Run {{ $labels.run }} has taken no step for {{ $value | humanizeDuration }}.',
      description: 'That is more than three times the median of its last steps.',
      runbook: 'run-stalled.md',
    },
    {
      name: 'WeftRunNotTraining',
      expression: `${RUNNING} unless ignoring (status) ${run.stepTime}`,
      forSeconds: HOUR / 2,
      severity: 'page',
      summary: 'Run {{ $labels.run }} has its workers and no step yet.',
      description: 'It has been starting, compiling or recovering for half an hour.',
      runbook: 'run-not-training.md',
    },
    {
      name: 'WeftStepsNotFinite',
      expression: [
        `(`,
        `    increase(${run.stepsSkipped}[${within(10 * MINUTE)}]) > 0`,
        `  or`,
        `    ${run.loss} != ${run.loss}`,
        `)`,
        isRunning,
      ].join('\n'),
      forSeconds: 0,
      severity: 'page',
      summary: 'Run {{ $labels.run }} has steps with NaN or infinite gradients.',
      description: 'Such steps consume their data and change no weights.',
      runbook: 'steps-not-finite.md',
    },
    {
      name: 'WeftLossSpike',
      // The coordinator sees every step, and applies the robust rule of `divergence`; a scrape would miss most spikes.
      expression: `increase(${run.spikes}[${within(10 * MINUTE)}]) > 0`,
      forSeconds: 0,
      severity: 'warning',
      summary: 'Run {{ $labels.run }} has had a spike of its loss or gradient norm.',
      description: 'A step lay many robust standard deviations over the median of the hundred steps before it.',
      runbook: 'loss-spike.md',
    },
    {
      name: 'WeftWorkerLost',
      expression: lost,
      forSeconds: 0,
      severity: 'warning',
      summary: 'Run {{ $labels.run }} has lost a worker in the last five minutes.',
      description: 'It goes on with the others, or waits for enough of them.',
      runbook: 'worker-lost.md',
    },
    {
      name: 'WeftStraggler',
      expression: [
        `rate(${run.waitedFor}[${within(5 * MINUTE)}])`,
        `  / on (job, instance, run) group_left () clamp_min(${run.worldSize} - 1, 1) > 0.2`,
      ].join('\n'),
      forSeconds: 5 * MINUTE,
      severity: 'warning',
      summary: 'Rank {{ $labels.rank }} of run {{ $labels.run }} keeps the others waiting.',
      description: 'They wait for it in the all-reduce for {{ $value | humanizePercentage }} of the time.',
      runbook: 'straggler.md',
    },
    {
      name: 'WeftLoaderStarving',
      expression: `rate(${worker.time}{bucket="waitingForData"}[${within(5 * MINUTE)}]) > 0.1`,
      forSeconds: 5 * MINUTE,
      severity: 'warning',
      summary: 'Rank {{ $labels.rank }} of run {{ $labels.run }} on {{ $labels.host }} waits for data.',
      description: 'It does so for {{ $value | humanizePercentage }} of the time.',
      runbook: 'loader-starving.md',
    },
    {
      name: 'WeftCheckpointTooOld',
      expression: [
        `${RECORDED.checkpointAge} > 2 * ${run.checkpointInterval} + ${seconds(5 * MINUTE)}`,
        isRunning,
      ].join('\n'),
      forSeconds: 0,
      severity: 'page',
      summary: 'The newest checkpoint of run {{ $labels.run }} is {{ $value | humanizeDuration }} old.',
      description: 'The run asks for one at least twice as often. A loss of the cluster now costs all that time.',
      runbook: 'checkpoint-too-old.md',
    },
    {
      name: 'WeftDiskNearlyFull',
      expression: `${coordinator.diskFree} / ${coordinator.diskSize} < 0.1`,
      forSeconds: 5 * MINUTE,
      severity: 'page',
      summary: 'The file system of the home has {{ $value | humanizePercentage }} left.',
      description: 'A checkpoint that finds no room is not written, and a log that finds none ends the run.',
      runbook: 'disk-nearly-full.md',
    },
    {
      name: 'WeftNoCoordinator',
      expression: `absent(${coordinator.leader} == 1)`,
      forSeconds: MINUTE,
      severity: 'page',
      summary: 'No coordinator holds the lease.',
      description: 'Nothing is launched and no step is committed. Workers wait for the next coordinator.',
      runbook: 'no-coordinator.md',
    },
    {
      name: 'WeftStoreDown',
      expression: `${coordinator.storeUp} == 0`,
      forSeconds: MINUTE,
      severity: 'page',
      summary: 'The store of logs and queue does not answer.',
      description: 'The coordinator decides nothing until it does.',
      runbook: 'store-down.md',
    },
    {
      name: 'WeftTargetDown',
      expression: `up{job="${JOBS.workers}"} == 0`,
      forSeconds: 2 * MINUTE,
      severity: 'warning',
      summary: 'The metrics of worker {{ $labels.instance }} on {{ $labels.host }} do not answer.',
      description: 'The coordinator still counts it as connected.',
      runbook: 'target-down.md',
    },
    {
      name: 'WeftGoodputLow',
      expression: [`${RECORDED.goodput} < 0.5`, isRunning].join('\n'),
      forSeconds: 15 * MINUTE,
      severity: 'warning',
      summary: 'Run {{ $labels.run }} trains in {{ $value | humanizePercentage }} of its time.',
      description: 'Less than half of the last half hour was spent computing, communicating and evaluating.',
      runbook: 'goodput-low.md',
    },
  ];
}
