import { WorkerMetrics } from '@weft/telemetry';
import { describe, expect, it } from 'vitest';
import { StepMeter } from './step-meter.js';
import { tinyConfig, vote } from './testing/worker-harness.js';

describe('the meter of steps', () => {
  it('counts the bytes of each ring from where it began, and the sequences of the whole run', async () => {
    const metrics = new WorkerMetrics();
    const meter = new StepMeter(metrics);
    let bytes = 1000;
    const ring = {
      get stats() {
        return { bytesSent: bytes, bytesReceived: bytes / 2, seconds: 1 };
      },
    };
    const seconds = { dataSeconds: 1, computeSeconds: 2, communicationSeconds: 3, applySeconds: 4 };
    const stepDone = meter.stepsOf(tinyConfig);
    const finishStep = (step: number) =>
      stepDone({
        report: { step, learningRate: 1e-3, tokensPerSecond: 50, ...seconds, moe: undefined },
        vote: vote(step),
        applied: true,
      });
    meter.follow(ring);
    bytes += 100;
    finishStep(1);
    bytes += 300;
    finishStep(2);
    bytes = 7;
    meter.follow(ring);
    bytes += 10;
    finishStep(3);
    const page = await metrics.registry.metrics();
    expect(page).toContain('weft_worker_ring_sent_bytes_total 410');
    expect(page).toContain('weft_worker_ring_received_bytes_total 205');
    expect(page).toContain('weft_run_sequences_total{source="captioned"} 12');
    expect(page).toContain('weft_worker_step 3');
  });
});
