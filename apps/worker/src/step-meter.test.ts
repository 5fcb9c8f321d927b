import { WorkerMetrics } from '@weft/telemetry';
import { describe, expect, it } from 'vitest';
import { StepMeter } from './step-meter.js';

describe('the meter of steps', () => {
  it('counts the bytes of each ring from where it began, those between devices too, and what this worker trained on', async () => {
    const metrics = new WorkerMetrics();
    const meter = new StepMeter(metrics);
    let bytes = 1000;
    const ring = {
      get stats() {
        return { bytesSent: bytes, bytesReceived: bytes / 2, seconds: 1, operations: 0 };
      },
    };
    const seconds = { dataSeconds: 1, computeSeconds: 2, communicationSeconds: 3, applySeconds: 4 };
    const finishStep = (step: number, deviceBytes = { sent: 0, received: 0 }) =>
      meter.stepDone({
        report: { step, learningRate: 1e-3, tokensPerSecond: 50, ...seconds, moe: undefined },
        applied: true,
        batch: {
          sequences: { captioned: 4, text: 0 },
          images: { captioned: 5, text: 0 },
          lossTokens: { captioned: 30, text: 0 },
          queuedBatches: 2,
          decoded: { images: step * 5, seconds: step / 2, replacedThreads: 0 },
          remote: {
            ...{ fetchedBytes: step * 1000, requests: step * 4, retries: step },
            ...{ cacheHits: step * 9, cacheMisses: step * 2, waitSeconds: step / 4 },
          },
        },
        deviceBytes,
      });
    meter.follow(ring);
    bytes += 100;
    finishStep(1);
    bytes += 300;
    finishStep(2);
    bytes = 7;
    meter.follow(ring);
    bytes += 10;
    finishStep(3, { sent: 4000, received: 6000 });
    const page = await metrics.registry.metrics();
    expect(page).toContain('weft_worker_ring_sent_bytes_total 4410');
    expect(page).toContain('weft_worker_ring_received_bytes_total 6205');
    expect(page).toContain('weft_worker_sequences_total{source="captioned"} 12');
    expect(page).toContain('weft_worker_images_total{source="captioned"} 15');
    expect(page).toContain('weft_worker_loader_queued_batches 2');
    expect(page).toContain('weft_worker_decoded_images_total 15');
    expect(page).toContain('weft_worker_decode_seconds_total 1.5');
    expect(page).toContain('weft_worker_remote_fetched_bytes_total 3000');
    expect(page).toContain('weft_worker_remote_requests_total 12');
    expect(page).toContain('weft_worker_remote_retries_total 3');
    expect(page).toContain('weft_worker_remote_cache_hits_total 27');
    expect(page).toContain('weft_worker_remote_cache_misses_total 6');
    expect(page).toContain('weft_worker_remote_wait_seconds_total 0.75');
    expect(page).toContain('weft_worker_step_seconds_sum 30');
    expect(page).toContain('weft_worker_step 3');
  });
});
