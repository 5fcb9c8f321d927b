import { run, worker } from '../metric-names.js';
import { RECORDED } from '../recording-rules.js';
import { type Dashboard, meanOf, OF_RUN, ofRun, one, quantileOf, rate } from './dashboard.js';

const series = (name: string) => `${name}${OF_RUN}`;

/** Is it learning, how fast, is something wrong, when does it end? */
export const RUN_DASHBOARD: Dashboard = {
  uid: 'weft-run',
  title: 'Weft: run',
  description: 'One run: what it learns, how fast, where its time goes, and what went wrong.',
  isAboutRun: true,
  rows: [
    {
      title: 'At a glance',
      panels: [
        { title: 'Step', kind: 'number', unit: 'none', queries: one(series(run.step), 'step') },
        {
          title: 'Of all steps',
          kind: 'number',
          unit: 'percentunit',
          queries: one(`${series(run.step)} / ${series(run.steps)}`, 'done'),
        },
        { title: 'Loss', kind: 'number', unit: 'none', queries: one(series(run.loss), 'loss') },
        {
          title: 'Time left',
          kind: 'number',
          unit: 's',
          queries: one(`${series(run.eta)} or 0 * ${series(run.step)}`, 'left'),
        },
        { title: 'Goodput', kind: 'number', unit: 'percentunit', queries: one(series(run.goodput), 'goodput') },
        {
          title: 'Tokens per second',
          kind: 'number',
          unit: 'short',
          queries: one(series(run.tokensPerSecond), 'tokens/s'),
        },
        { title: 'Ranks that train', kind: 'number', unit: 'none', queries: one(series(run.worldSize), 'ranks') },
        { title: 'Since the last step', kind: 'number', unit: 's', queries: one(series(RECORDED.stepAge), 'age') },
        { title: 'Checkpoint age', kind: 'number', unit: 's', queries: one(series(RECORDED.checkpointAge), 'age') },
        {
          title: 'MFU',
          kind: 'number',
          unit: 'percentunit',
          help: 'Absent where the peak of the devices is not known, as on processors.',
          queries: one(series(run.mfu), 'MFU'),
        },
        {
          title: 'Cost',
          kind: 'number',
          unit: 'short',
          help: 'Where the coordinator has --price-per-worker-hour.',
          queries: one(`${series(run.cost)} or 0 * ${series(run.step)}`, 'cost'),
        },
        {
          title: 'Alerts',
          kind: 'number',
          unit: 'none',
          queries: one(`count(ALERTS${ofRun('alertstate="firing"')}) or vector(0)`, 'firing'),
        },
      ],
    },
    {
      title: 'Learning',
      panels: [
        {
          title: 'Loss',
          unit: 'none',
          help: 'Nats per text token.',
          queries: [
            { expression: series(run.loss), legend: 'all' },
            { expression: series(run.sourceLoss), legend: '{{source}}' },
          ],
        },
        {
          title: 'Held-out loss',
          unit: 'none',
          queries: [
            { expression: series(run.heldOutLoss), legend: 'all' },
            { expression: series(run.heldOutSourceLoss), legend: '{{source}}' },
          ],
        },
        { title: 'Scores of tasks', unit: 'none', queries: one(series(run.taskScore), '{{task}}, {{shots}} shots') },
        {
          title: 'Measures of the task',
          unit: 'none',
          help: 'Such as the accuracy of a contrastive run; the loss of a run that has no other measure.',
          queries: one(`${series(run.measure)} or ${series(run.loss)}`, '{{measure}}'),
        },
        { title: 'Learning rate', unit: 'sci', queries: one(series(run.learningRate), 'rate') },
        { title: 'Gradient norm', unit: 'none', queries: one(series(run.gradNorm), 'norm') },
      ],
    },
    {
      title: 'Speed',
      panels: [
        { title: 'Tokens per second', unit: 'short', queries: one(series(run.tokensPerSecond), 'tokens/s') },
        { title: 'MFU', unit: 'percentunit', queries: one(series(run.mfu), 'MFU') },
        {
          title: 'Seconds of a step',
          unit: 's',
          queries: [
            { expression: series(run.medianStep), legend: 'median of the run' },
            { expression: quantileOf(0.95, run.stepDuration, OF_RUN), legend: '95 % of the run' },
            { expression: series(RECORDED.stepQuantile), legend: '95 % of rank {{rank}}' },
          ],
        },
        {
          title: 'Phases of a step',
          kind: 'stacked',
          unit: 's',
          help: 'Mean over the ranks.',
          queries: one(meanOf(worker.phaseDuration, OF_RUN, 'phase'), '{{phase}}'),
        },
        {
          title: 'Arrives at the all-reduce after the first',
          unit: 's',
          queries: one(series(run.arrivalDelay), 'rank {{rank}}'),
        },
        {
          title: 'The others wait for it',
          unit: 'percentunit',
          help: 'Seconds a second, of all others together.',
          queries: one(rate(series(run.waitedFor)), 'rank {{rank}}'),
        },
      ],
    },
    {
      title: 'Time and faults',
      panels: [
        {
          title: 'Where the time goes',
          kind: 'stacked',
          unit: 'percentunit',
          queries: one(series(RECORDED.timeShare), '{{bucket}}'),
        },
        {
          title: 'Goodput',
          unit: 'percentunit',
          queries: [
            { expression: series(RECORDED.goodput), legend: 'last half hour' },
            { expression: series(run.goodput), legend: 'whole run' },
          ],
        },
        {
          title: 'Faults',
          unit: 'none',
          queries: [
            { expression: series(run.workersLost), legend: 'workers lost' },
            { expression: series(run.ringFailures), legend: 'rings broken' },
            { expression: series(run.stepsSkipped), legend: 'steps skipped' },
            { expression: series(run.spikes), legend: 'spikes' },
            { expression: series(run.generation), legend: 'generation' },
          ],
        },
        {
          title: 'Ranks',
          unit: 'none',
          queries: [
            { expression: series(run.workers), legend: 'asked for' },
            { expression: series(run.worldSize), legend: 'that train' },
          ],
        },
      ],
    },
    {
      title: 'Checkpoints',
      panels: [
        {
          title: 'Age of the newest',
          unit: 's',
          queries: [
            { expression: series(RECORDED.checkpointAge), legend: 'age' },
            { expression: series(run.checkpointInterval), legend: 'asked for' },
          ],
        },
        {
          title: 'Time',
          unit: 's',
          queries: [
            { expression: series(run.checkpointDuration), legend: 'from commit to manifest' },
            {
              expression: `sum by (rank) (${rate(`${worker.checkpointStall}_sum${OF_RUN}`)})`,
              legend: 'rank {{rank}} stands still, seconds a second',
            },
          ],
        },
        { title: 'Size', unit: 'bytes', queries: one(series(run.checkpointSize), 'bytes') },
        { title: 'Step of the newest', unit: 'none', queries: one(series(run.checkpointStep), 'step') },
      ],
    },
  ],
};
