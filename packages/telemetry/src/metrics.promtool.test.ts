import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { CoordinatorMetrics } from './coordinator-metrics.js';
import { serveMetrics } from './serve-metrics.js';
import { exampleRun } from './testing/example-run.js';
import { WorkerMetrics } from './worker-metrics.js';

const promtool = spawnSync('promtool', ['--version']).status === 0;
if (!promtool) console.warn('skipped: promtool, which comes with prometheus, is not installed');

function check(page: string): { status: number | null; complaints: string } {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: page, encoding: 'utf8' });
  return { status, complaints: stdout + stderr };
}

describe.skipIf(!promtool)('promtool', () => {
  const worker = new WorkerMetrics();
  const sources = ['captioned', 'interleaved', 'text'];
  worker.joinedRun({ runId: 'tiny-1', rank: 0, worldSize: 1, generation: 1, sources });
  worker.stepDone({
    step: 1,
    applied: false,
    seconds: { data: 0.1, compute: 1, communication: 0, apply: 0.1 },
    ringBytes: { sent: 0, received: 0 },
    exchange: { bytesSent: 1, bytesReceived: 1, waitingSeconds: 0 },
    batch: {
      sequences: { captioned: 4 },
      images: { captioned: 4 },
      lossTokens: { captioned: 4 },
      queuedBatches: 1,
      decoded: { images: 1, seconds: 1, replacedThreads: 0 },
    },
  });
  worker.indexOpened({ captioned: { 'it has no text': 1 } });
  worker.onScrape();
  worker.stepServed({ step: 1, applied: true, computeSeconds: 1, idleSeconds: 1, applySeconds: 1 });
  const coordinator = new CoordinatorMetrics();
  coordinator.runs.stepTook('tiny-1', 1);
  coordinator.runs.set([exampleRun()]);

  it.each([
    ['a coordinator', coordinator.registry],
    ['a worker', worker.registry],
  ])('has no complaint about the page of %s', async (_, registry) => {
    const server = await serveMetrics({ registry });
    const page = await (await fetch(`http://${server.address}/metrics`)).text();
    await server.close();
    expect(page).toContain('\nprocess_cpu_seconds_total ');
    expect(check(page)).toEqual({ status: 0, complaints: '' });
  });

  it('would complain', () => {
    expect(check('# TYPE weft_steps counter\nweft_steps 1\n').status).not.toBe(0);
  });
});
