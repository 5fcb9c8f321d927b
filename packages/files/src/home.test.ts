import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Home, shortPath } from './home.js';

describe('a home', () => {
  it('is the option, else $WEFT_HOME, else .weft here', () => {
    expect(new Home('x', { WEFT_HOME: '/srv/weft' }).directory).toBe(resolve('x'));
    expect(new Home(undefined, { WEFT_HOME: '/srv/weft' }).directory).toBe('/srv/weft');
    expect(new Home(undefined, { WEFT_HOME: '' }).directory).toBe(resolve('.weft'));
    expect(new Home(undefined, {}).directory).toBe(resolve('.weft'));
  });

  it('keeps every file where older versions and the documentation look for it', () => {
    const home = new Home('/h', {});
    expect([
      home.coordinatorFile,
      home.logsDirectory,
      home.runsDirectory,
      home.runDirectory('r'),
      home.configFile('r'),
      home.eventsFile('r'),
      home.metricsFile('r'),
      home.stateFile('r'),
      home.ledgerFile('r'),
      home.sweepDirectory('s'),
    ]).toEqual([
      '/h/coordinator.json',
      '/h/logs',
      '/h/runs',
      '/h/runs/r',
      '/h/runs/r/config.json',
      '/h/runs/r/events.jsonl',
      '/h/runs/r/metrics.jsonl',
      '/h/runs/r/state.json',
      '/h/runs/r/ledger.json',
      '/h/sweeps/s',
    ]);
  });

  it('stands for .weft in the paths of a configuration, and for nothing else', () => {
    const home = new Home('/h', {});
    expect(home.resolvePath('.weft')).toBe('/h');
    expect(home.resolvePath('.weft/data/demo')).toBe('/h/data/demo');
    expect(home.resolvePath('.weft-old/data')).toBe(resolve('.weft-old/data'));
    expect(home.resolvePath('/srv/data')).toBe('/srv/data');
  });
});

it('a path is short below the current directory, and whole elsewhere', () => {
  expect(shortPath(resolve('a', 'b'))).toBe(join('a', 'b'));
  expect(shortPath(resolve('.'))).toBe(resolve('.'));
  expect(shortPath(resolve('..', 'beside'))).toBe(resolve('..', 'beside'));
});
