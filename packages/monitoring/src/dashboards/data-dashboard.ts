import { run, worker } from '../metric-names.js';
import { RECORDED } from '../recording-rules.js';
import { type Dashboard, OF_RUN, ofRun, one, rate } from './dashboard.js';

const series = (name: string) => `${name}${OF_RUN}`;
const bySource = (counter: string) => `sum by (source) (${rate(series(counter))})`;

/** What a run eats. */
export const DATA_DASHBOARD: Dashboard = {
  uid: 'weft-data',
  title: 'Weft: data and mixture',
  description: 'Sources against the plan, and whether the loaders keep up.',
  isAboutRun: true,
  rows: [
    {
      title: 'Mixture',
      panels: [
        {
          title: 'Share of each source',
          unit: 'percentunit',
          queries: [
            {
              expression: `${series(run.sequences)} / ignoring (source) group_left () sum without (source) (${series(run.sequences)})`,
              legend: '{{source}} so far',
            },
            { expression: series(run.sourceWeight), legend: '{{source}} planned' },
          ],
        },
        {
          title: 'Of what is planned',
          kind: 'bars',
          unit: 'percentunit',
          queries: one(`${series(run.sequences)} / ${series(run.plannedSequences)}`, '{{source}}'),
        },
        { title: 'Loss of each source', unit: 'none', queries: one(series(run.sourceLoss), '{{source}}') },
        { title: 'Sequences', unit: 'short', queries: one(series(run.sequences), '{{source}}') },
        {
          title: 'Text tokens under the loss per second',
          kind: 'stacked',
          unit: 'short',
          queries: one(bySource(worker.lossTokens), '{{source}}'),
        },
        {
          title: 'Images per second',
          kind: 'stacked',
          unit: 'short',
          queries: one(bySource(worker.images), '{{source}}'),
        },
        {
          title: 'Sequences per second',
          kind: 'stacked',
          unit: 'short',
          queries: one(bySource(worker.sequences), '{{source}}'),
        },
        {
          title: 'All tokens',
          unit: 'short',
          queries: [
            { expression: series(run.tokens), legend: 'positions' },
            { expression: series(run.lossTokens), legend: 'text tokens under the loss' },
          ],
        },
      ],
    },
    {
      title: 'Loaders',
      panels: [
        {
          title: 'Batches that wait to be taken',
          unit: 'none',
          help: '0: the loader is late.',
          queries: one(series(worker.queuedBatches), 'rank {{rank}}'),
        },
        {
          title: 'Time without data',
          unit: 'percentunit',
          queries: one(rate(`${worker.time}${ofRun('bucket="waitingForData"')}`), 'rank {{rank}}'),
        },
        {
          title: 'Images decoded per second',
          unit: 'short',
          queries: one(rate(series(worker.decodedImages)), 'rank {{rank}}'),
        },
        {
          title: 'Decoding',
          unit: 'percentunit',
          help: 'Seconds a second, on all threads of a rank.',
          queries: one(rate(series(worker.decodeTime)), 'rank {{rank}}'),
        },
        {
          title: 'Loader threads replaced',
          unit: 'short',
          help: 'They ended or did not answer; the log of the worker has the reason.',
          queries: one(series(worker.loaderThreadsReplaced), 'rank {{rank}}'),
        },
        {
          title: 'Fetched from afar',
          unit: 'Bps',
          help: 'Shards at addresses such as s3://.',
          queries: one(`${rate(series(worker.remoteBytes))} or vector(0)`, 'rank {{rank}}'),
        },
        {
          title: 'Requests for shards that were repeated',
          unit: 'percentunit',
          queries: one(
            `sum(${rate(series(worker.remoteRetries))}) / clamp_min(sum(${rate(series(worker.remoteRequests))}), 1e-9) or vector(0)`,
            'repeated',
          ),
        },
        {
          title: 'Waits for shards from afar',
          unit: 'percentunit',
          help: 'Seconds a second, over all reads of a rank.',
          queries: one(`${rate(series(worker.remoteWait))} or vector(0)`, 'rank {{rank}}'),
        },
        {
          title: 'Samples left out of the index',
          kind: 'bars',
          unit: 'none',
          queries: one(`max by (source, reason) (${series(worker.badSamples)}) or vector(0)`, '{{source}}: {{reason}}'),
        },
        {
          title: 'Text tokens under the loss per second',
          unit: 'short',
          queries: one(series(RECORDED.tokenRate), 'tokens/s'),
        },
      ],
    },
  ],
};
