import { coordinator, JOBS, run } from '../metric-names.js';
import { type Dashboard, one, quantileOf, rate } from './dashboard.js';

const OWN = `{job="${JOBS.coordinator}"}`;

/** Whether the coordinator keeps up, and what waits. */
export const COORDINATOR_DASHBOARD: Dashboard = {
  uid: 'weft-coordinator',
  title: 'Weft: coordinator and queue',
  description: 'Runs and the queue, decisions, store and process of the coordinator.',
  isAboutRun: false,
  rows: [
    {
      title: 'Runs and queue',
      panels: [
        {
          title: 'Leads',
          kind: 'number',
          unit: 'none',
          queries: one(`sum(${coordinator.leader}) or vector(0)`, 'coordinators'),
        },
        { title: 'Store answers', kind: 'number', unit: 'none', queries: one(coordinator.storeUp, 'yes or no') },
        { title: 'Queue paused', kind: 'number', unit: 'none', queries: one(coordinator.queuePaused, 'yes or no') },
        {
          title: 'Runs that train',
          kind: 'number',
          unit: 'none',
          queries: one(`${coordinator.runs}{status="running"}`, 'runs'),
        },
        {
          title: 'Jobs that wait',
          kind: 'number',
          unit: 'none',
          queries: one(`${coordinator.queueJobs}{state="waiting"}`, 'jobs'),
        },
        { title: 'Longest wait', kind: 'number', unit: 's', queries: one(coordinator.queueOldestWait, 'wait') },
        { title: 'Runs by status', kind: 'stacked', unit: 'none', queries: one(coordinator.runs, '{{status}}') },
        { title: 'Jobs by state', kind: 'stacked', unit: 'none', queries: one(coordinator.queueJobs, '{{state}}') },
        { title: 'Wait of each run', unit: 's', queries: one(run.queueWait, '{{run}}') },
        {
          title: 'Steps committed per second',
          unit: 'ops',
          queries: [
            { expression: rate(coordinator.stepsCommitted), legend: 'committed' },
            { expression: rate(coordinator.stepsSkipped), legend: 'skipped' },
          ],
        },
      ],
    },
    {
      title: 'Decisions',
      panels: [
        {
          title: 'Time of a decision',
          unit: 's',
          queries: [
            { expression: quantileOf(0.5, coordinator.decisionDuration, ''), legend: 'median' },
            { expression: quantileOf(0.99, coordinator.decisionDuration, ''), legend: '99 %' },
          ],
        },
        {
          title: 'Time to make an event durable',
          unit: 's',
          queries: [
            { expression: quantileOf(0.5, coordinator.eventAppendDuration, ''), legend: 'median' },
            { expression: quantileOf(0.99, coordinator.eventAppendDuration, ''), legend: '99 %' },
          ],
        },
        {
          title: 'Checkpoints',
          unit: 'none',
          queries: [
            { expression: coordinator.checkpointsWritten, legend: 'written' },
            { expression: coordinator.generationChanges, legend: 'generations' },
          ],
        },
        {
          title: 'Time of a checkpoint',
          unit: 's',
          queries: one(`${coordinator.checkpointDuration}_sum / ${coordinator.checkpointDuration}_count`, 'mean'),
        },
      ],
    },
    {
      title: 'Process',
      panels: [
        {
          title: 'Event loop lag',
          unit: 's',
          queries: [
            { expression: `nodejs_eventloop_lag_p50_seconds${OWN}`, legend: 'median' },
            { expression: `nodejs_eventloop_lag_p99_seconds${OWN}`, legend: '99 %' },
          ],
        },
        {
          title: 'Memory',
          unit: 'bytes',
          queries: [
            { expression: `process_resident_memory_bytes${OWN}`, legend: 'resident' },
            { expression: `nodejs_heap_size_used_bytes${OWN}`, legend: 'heap' },
          ],
        },
        {
          title: 'Processor',
          unit: 'percentunit',
          queries: one(rate(`process_cpu_seconds_total${OWN}`), 'of one core'),
        },
        { title: 'Size of the newest checkpoint', unit: 'bytes', queries: one(coordinator.checkpointSize, 'bytes') },
      ],
    },
  ],
};
