import { followRun, RunsClient } from '@weft/client';
import { Home, writeCoordinatorFile } from '@weft/files';
import { RunStatus } from '@weft/proto';
import {
  metricsUpdate,
  type Script,
  scriptedCoordinator,
  summaryAt,
  summaryUpdate,
  temporaryDirectory,
} from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { recordedTerminal } from '../testing/fixtures.js';
import { createDisplay } from './display.js';

/** @param successor takes over when the first coordinator breaks off */
async function follow(script: Script, successor?: Script) {
  const server = await scriptedCoordinator(script);
  await using home = await temporaryDirectory();
  const next = successor === undefined ? undefined : await scriptedCoordinator(successor);
  if (next !== undefined) {
    const { address } = next;
    await writeCoordinatorFile(new Home(home.path), { address, metricsAddress: '', processId: 1, version: '' });
  }
  const client = await RunsClient.connect(server.address);
  const terminal = recordedTerminal();
  try {
    const display = createDisplay(terminal, { json: true });
    const progress = await followRun({
      client,
      location: { home: home.path, coordinator: undefined, redisUrl: undefined, keyPrefix: undefined },
      runId: 'run-a',
      observer: display,
      signal: new AbortController().signal,
    });
    const lines = terminal.written.out.trimEnd().split('\n');
    return {
      progress,
      shown: lines.map((line) => JSON.parse(line)),
      askedAfter: server.askedAfter,
      askedNext: next?.askedAfter,
    };
  } finally {
    client.close();
    await server.close(0);
    await next?.close(0);
  }
}

const finished = summaryUpdate(summaryAt(60, { status: RunStatus.RUN_STATUS_FINISHED, worldSize: 0 }));

describe('following a run', () => {
  it('shows what is new, counts what was before, and ends with the run', async () => {
    const { progress, shown } = await follow({
      summary: summaryAt(2),
      watches: [
        { updates: [summaryUpdate(summaryAt(2)), metricsUpdate(1), metricsUpdate(2), metricsUpdate(3), finished] },
      ],
    });
    expect(shown.map(({ type, step }) => [type, step])).toEqual([['step', 3]]);
    expect(progress.metrics.map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(progress.run).toMatchObject({ status: 'finished', step: 60 });
  });

  it('bears a coordinator that goes away and comes back, and misses no step', async () => {
    const { shown, progress, askedAfter } = await follow({
      summary: summaryAt(0),
      watches: [
        { updates: [summaryUpdate(summaryAt(0)), metricsUpdate(1), metricsUpdate(2)], breaks: true },
        { updates: [summaryUpdate(summaryAt(3)), metricsUpdate(3), finished] },
      ],
    });
    expect(askedAfter).toEqual([0, 2]);
    expect(progress.metrics.map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(shown.map(({ type, message }) => message ?? type)).toEqual([
      'step',
      'step',
      'the coordinator is shutting down; trying again for a minute …',
      'The coordinator is back.',
      'step',
    ]);
  });

  it('goes on at the coordinator that took over, which coordinator.json names', async () => {
    const { progress, askedAfter, askedNext } = await follow(
      {
        summary: summaryAt(0),
        watches: [{ updates: [summaryUpdate(summaryAt(0)), metricsUpdate(1)], breaks: true }],
      },
      { summary: summaryAt(1), watches: [{ updates: [summaryUpdate(summaryAt(2)), metricsUpdate(2), finished] }] },
    );
    expect(askedAfter).toEqual([0]);
    expect(askedNext).toEqual([1]);
    expect(progress.metrics.map(({ step }) => step)).toEqual([1, 2]);
  });

  it('passes on what a coordinator refuses for good', async () => {
    await expect(follow({ summary: summaryAt(0), watches: [] })).rejects.toThrow('the script has no further call');
  });
});
