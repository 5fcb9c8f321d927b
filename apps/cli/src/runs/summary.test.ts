import { RunProgress } from '@weft/client';
import type { RunView } from '@weft/contracts';
import { exampleRun, exampleStep } from '@weft/testing';
import picocolors from 'picocolors';
import { describe, expect, it } from 'vitest';
import { paint } from '../styled-lines.js';
import { suggestions } from './describe-run.js';
import { renderSummary, runExitCode, summaryJson } from './summary.js';

const plain = picocolors.createColors(false);
const STATUSES: readonly RunView['status'][] = [
  'queued',
  'running',
  'stopping',
  'finished',
  'stopped',
  'failed',
  'interrupted',
];

function outcome(status: RunView['status']) {
  const progress = new RunProgress(exampleRun({ status, step: 60, checkpointStep: 60, directory: '/srv/runs/x' }));
  for (let step = 1; step <= 60; step++) progress.addStep(exampleStep(step));
  return { view: progress.view(0), metrics: progress.metrics, elapsedSeconds: 134, logDirectory: '/srv/logs/1' };
}

describe('the summary of a launch', () => {
  it('says how the run ended, where its files are, and what to try next', () => {
    expect(renderSummary(outcome('finished'), 'npx weft').map((line) => paint(line, plain))).toEqual([
      '',
      'debug-tiny-20261123-0558-k3f9 finished at step 60 of 60, on 2 workers, in 2m 14s.',
      '  final loss  1.5000 (mean of the last 5 steps 1.5390, of the first 5 5.2372)',
      '  speed       512 tokens/s',
      '  sequences   captioned 240, interleaved 180, text 60',
      '  run         /srv/runs/x',
      '  checkpoint  /srv/runs/x/checkpoints/step-00000060',
      '  logs        /srv/logs/1',
      '',
      'Next:',
      '  npx weft resume debug-tiny-20261123-0558-k3f9 --steps 120   train it further',
      '  npx weft data ledger debug-tiny-20261123-0558-k3f9 --check  see that every sequence was consumed exactly once',
      '  npx weft status debug-tiny-20261123-0558-k3f9               look at it again',
    ]);
  });

  it('says the same to programs', () => {
    expect(summaryJson(outcome('finished'))).toMatchObject({
      type: 'summary',
      status: 'finished',
      loss: 1.5,
      tokensPerSecond: 512,
      sequences: { captioned: 240, interleaved: 180, text: 60 },
      checkpoint: '/srv/runs/x/checkpoints/step-00000060',
    });
  });

  it('has a suggestion for every status, and an exit code that tells success from the rest', () => {
    for (const status of STATUSES) expect(suggestions(exampleRun({ status })).length, status).toBeGreaterThan(0);
    expect(STATUSES.filter((status) => runExitCode(exampleRun({ status })) === 0)).toEqual(['finished']);
    expect(runExitCode(exampleRun({ status: 'stopped' }))).toBe(130);
  });
});
