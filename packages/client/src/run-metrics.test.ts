import { WeftError } from '@weft/common';
import { exampleRun, exampleStep } from '@weft/testing';
import { expect, it } from 'vitest';
import { readProgress } from './run-metrics.js';
import type { RunsClient, RunUpdate } from './runs-client.js';

/** A coordinator that lacks the last rows of a run, and waits for them until it is left. */
const lackingRows: Pick<RunsClient, 'watch'> = {
  async *watch(_, __, signal): AsyncGenerator<RunUpdate, void, undefined> {
    yield { kind: 'metrics', metrics: exampleStep(4) };
    await new Promise((resolve) => signal?.addEventListener('abort', resolve, { once: true }));
    throw new WeftError('cancelled', 'the call Watch was cancelled');
  },
};

it('a run whose last rows do not come is shown by those that came', async () => {
  const run = exampleRun({ step: 5, directory: '/nowhere' });
  const progress = await readProgress(run, lackingRows as RunsClient);
  expect(progress.metrics.map(({ step }) => step)).toEqual([4]);
});
