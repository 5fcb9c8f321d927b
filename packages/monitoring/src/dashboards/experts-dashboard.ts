import { run, worker } from '../metric-names.js';
import { type Dashboard, OF_RUN, ofRun, one, rate } from './dashboard.js';

const series = (name: string) => `${name}${OF_RUN}`;
const LAYER = 'layer {{layer}}';

/** Whether the experts of MoE layers are used evenly, and what expert workers cost. */
export const EXPERTS_DASHBOARD: Dashboard = {
  uid: 'weft-experts',
  title: 'Weft: experts',
  description: 'Routing in MoE layers, and the exchange with expert workers. Empty for a dense model.',
  isAboutRun: true,
  rows: [
    {
      title: 'Routing',
      panels: [
        {
          title: 'Imbalance',
          unit: 'none',
          help: 'The busiest expert over the average one; 1 is even.',
          queries: one(series(run.expertImbalance), LAYER),
        },
        { title: 'Dropped assignments', unit: 'percentunit', queries: one(series(run.expertDroppedShare), LAYER) },
        {
          title: 'Share of each expert',
          kind: 'stacked',
          unit: 'percentunit',
          width: 24,
          queries: one(
            `${rate(series(run.expertAssignments))} / ignoring (expert) group_left () sum without (expert) (${rate(series(run.expertAssignments))})`,
            'layer {{layer}}, expert {{expert}}',
          ),
        },
        {
          title: 'Dropped by each expert, per second',
          unit: 'short',
          queries: one(rate(series(run.expertDroppedAssignments)), 'layer {{layer}}, expert {{expert}}'),
        },
        { title: 'Entropy of the router', unit: 'none', help: 'Nats.', queries: one(series(run.routerEntropy), LAYER) },
        { title: 'Load-balance loss', unit: 'none', queries: one(series(run.loadBalanceLoss), LAYER) },
        { title: 'Router z-loss', unit: 'none', queries: one(series(run.routerZLoss), LAYER) },
      ],
    },
    {
      title: 'Expert workers',
      panels: [
        {
          title: 'Exchange',
          unit: 'Bps',
          queries: [
            { expression: rate(series(worker.expertSent)), legend: '{{role}} {{rank}} sends' },
            { expression: rate(series(worker.expertReceived)), legend: '{{role}} {{rank}} receives' },
          ],
        },
        {
          title: 'Waiting',
          unit: 'percentunit',
          queries: [
            {
              expression: rate(`${worker.expertWaiting}${ofRun('role="rank"')}`),
              legend: 'rank {{rank}} waits for experts',
            },
            {
              expression:
                rate(`${worker.expertIdle}${ofRun('role="expertWorker"')}`) +
                ` or ${rate(`${worker.expertIdle}${OF_RUN}`)}`,
              legend: '{{role}} {{rank}} has nothing to compute',
            },
          ],
        },
      ],
    },
  ],
};
