import { coordinator, JOBS, worker } from '../metric-names.js';
import { type Dashboard, one, quantileOf, rate } from './dashboard.js';

const WORKER = '{{host}} {{instance}}';

/** What the machines do. */
export const CLUSTER_DASHBOARD: Dashboard = {
  uid: 'weft-cluster',
  title: 'Weft: cluster',
  description: 'Workers by what they do, their processes, their network, and the disk of the home.',
  isAboutRun: false,
  rows: [
    {
      title: 'Workers',
      panels: [
        { title: 'Connected', kind: 'number', unit: 'none', queries: one(coordinator.workersConnected, 'workers') },
        { title: 'Busy', kind: 'number', unit: 'none', queries: one(coordinator.workersBusy, 'workers') },
        { title: 'Lost', kind: 'number', unit: 'none', queries: one(coordinator.workersLost, 'workers') },
        {
          title: 'Answer scrapes',
          kind: 'number',
          unit: 'none',
          queries: one(`sum(up{job="${JOBS.workers}"})`, 'workers'),
        },
        { title: 'Silent for', kind: 'number', unit: 's', queries: one(coordinator.oldestHeartbeatAge, 'longest') },
        {
          title: 'Disk left',
          kind: 'number',
          unit: 'percentunit',
          queries: one(`${coordinator.diskFree} / ${coordinator.diskSize}`, 'left'),
        },
        {
          title: 'By role and state',
          kind: 'stacked',
          unit: 'none',
          queries: one(coordinator.workers, '{{role}} {{state}}'),
        },
        {
          title: 'What they spend their time on',
          kind: 'stacked',
          unit: 'percentunit',
          help: 'Of all workers together.',
          queries: one(`sum by (bucket) (${rate(worker.time)})`, '{{bucket}}'),
        },
        { title: 'Steps', unit: 'none', queries: one(worker.step, `${WORKER}, rank {{rank}}`) },
        {
          title: 'Seconds of a step',
          unit: 's',
          help: '95 % take less.',
          queries: one(quantileOf(0.95, worker.stepDuration, '', 'instance, host'), WORKER),
        },
      ],
    },
    {
      title: 'Processes',
      panels: [
        {
          title: 'Processor',
          unit: 'percentunit',
          help: 'Of one core.',
          queries: one(rate('process_cpu_seconds_total'), WORKER),
        },
        { title: 'Memory', unit: 'bytes', queries: one('process_resident_memory_bytes', WORKER) },
        {
          title: 'Event loop lag',
          unit: 's',
          help: '99 % are shorter.',
          queries: one('nodejs_eventloop_lag_p99_seconds', WORKER),
        },
        { title: 'Open files', unit: 'none', queries: one('process_open_fds', WORKER) },
      ],
    },
    {
      title: 'Network and faults',
      panels: [
        {
          title: 'Gradients',
          unit: 'Bps',
          queries: [
            { expression: rate(worker.ringSent), legend: `${WORKER} sends` },
            { expression: rate(worker.ringReceived), legend: `${WORKER} receives` },
          ],
        },
        {
          title: 'Faults',
          unit: 'none',
          queries: [
            { expression: worker.ringFailures, legend: `${WORKER} collectives failed` },
            { expression: worker.reconnects, legend: `${WORKER} streams opened again` },
            { expression: worker.stepsSkipped, legend: `${WORKER} steps skipped` },
          ],
        },
        {
          title: 'Disk of the home',
          unit: 'bytes',
          queries: [
            { expression: coordinator.diskFree, legend: 'free' },
            { expression: coordinator.diskSize, legend: 'size' },
          ],
        },
        {
          title: 'Ranks',
          unit: 'none',
          queries: [
            { expression: worker.rank, legend: `${WORKER} rank` },
            { expression: worker.generation, legend: `${WORKER} generation` },
          ],
        },
      ],
    },
  ],
};
