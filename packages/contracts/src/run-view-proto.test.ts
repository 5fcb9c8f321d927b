import { RunSummary } from '@weft/proto';
import { describe, expect, it } from 'vitest';
import { hasEnded, type RunView } from './run-view.js';
import { runViewFromProto, runViewToProto } from './run-view-proto.js';

const view: RunView = {
  runId: 'debug-tiny-x',
  recipe: 'debugTiny',
  status: 'failed',
  reason: 'the disk is full',
  step: 3,
  steps: 60,
  workers: 2,
  worldSize: 0,
  generation: 1,
  checkpointStep: 2,
  directory: '/srv/weft/runs/debug-tiny-x',
  createdAtMs: 1,
  updatedAtMs: 2,
  failure: { code: 'failed_precondition', message: 'the disk is full', hint: 'free space' },
  loss: 4.5,
  priority: -3,
  queuePosition: 2,
  expectedStartMs: 77,
  parent: 'sweep-x',
  failedAttempts: 1,
  maxAttempts: 3,
};

describe('a run view', () => {
  const overTheWire = (sent: RunView) =>
    runViewFromProto(RunSummary.decode(RunSummary.encode(runViewToProto(sent)).finish()));

  it('crosses the wire unchanged, with all it may hold and with what may be missing', () => {
    expect(overTheWire(view)).toEqual(view);
    const sparse = {
      failure: null,
      loss: null,
      queuePosition: null,
      expectedStartMs: null,
      parent: null,
    };
    expect(overTheWire({ ...view, ...sparse })).toEqual({ ...view, ...sparse });
    const failure = { code: 'internal', message: 'broken', hint: null } as const;
    expect(overTheWire({ ...view, failure }).failure).toEqual(failure);
  });

  it('with a status of a later version counts as running', () => {
    expect(runViewFromProto({ ...runViewToProto(view), status: 99 as never }).status).toBe('running');
  });

  it('has ended when nothing more happens by itself', () => {
    for (const status of ['finished', 'stopped', 'failed', 'interrupted'] as const)
      expect(hasEnded({ status })).toBe(true);
    for (const status of ['queued', 'running', 'stopping'] as const) expect(hasEnded({ status })).toBe(false);
  });
});
