import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { median, WeftError } from '@weft/common';
import { committedAtMs, parseMetricsRow } from '@weft/contracts';
import { Home, readCoordinatorFile } from '@weft/files';
import { WorkClock, WorkerMetrics } from '@weft/telemetry';
import { pairedSpeedup } from './statistics.js';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const WEFT = join(REPOSITORY, 'apps/cli/bin/weft.js');
const DEMO_DATA = join(REPOSITORY, '.weft/data/demo');
/** Steps of a run that are not counted: graphs are compiled in them. */
const COMPILING_STEPS = 6;
/** Between two scrapes of every process; Prometheus as we configure it asks fifteen times less often. */
const SCRAPE_MS = 1000;
/** What all of it may cost of a step. */
const LIMIT = 0.01;

export interface ObservabilityBenchOptions {
  readonly recipe: string;
  readonly rounds: number;
  /** Of each half of a round. */
  readonly seconds: number;
  readonly json: boolean;
}

/**
 * What it costs a step that everybody looks: one run, in which spells with everything switched on take turns with spells without.
 * On: every process is scraped each second, two pages and a terminal follow the run. What a worker counts for every step, also when
 * nobody looks, is timed alone.
 * @returns the exit code: 1 when it costs more than 1 % of a step
 */
export async function benchObservability(options: ObservabilityBenchOptions): Promise<number> {
  if (!existsSync(join(DEMO_DATA, 'index')))
    throw new WeftError('not_found', `there is no indexed demo data in ${DEMO_DATA}`, {
      hint: 'run `npx weft data fetch demo` and `npx weft data index debugTiny`',
    });
  const home = new Home(await mkdtemp(join(tmpdir(), 'weft-bench-observability-')));
  const run = launch(home, options.recipe);
  try {
    const { runId, coordinator } = await begun(home, run);
    const spells: { readonly isOn: boolean; readonly startMs: number; readonly endMs: number }[] = [];
    for (let half = 0; half < 2 * options.rounds; half++) {
      // On, off, off, on: what drifts over a round favours neither.
      const isOn = half % 4 === 0 || half % 4 === 3;
      const stop = isOn ? await lookAt(coordinator, home, runId) : undefined;
      const startMs = Date.now();
      await sleep(options.seconds * 1000);
      spells.push({ isOn, startMs, endMs: Date.now() });
      await stop?.();
    }
    const steps = await stepTimes(home, runId);
    const of = (isOn: boolean) =>
      spells
        .filter((spell) => spell.isOn === isOn)
        .map(({ startMs, endMs }) =>
          steps.filter(({ atMs }) => atMs > startMs && atMs < endMs).map(({ seconds }) => seconds),
        );
    const ratio = pairedSpeedup(of(false), of(true));
    const [off, on] = [median(of(false).flat()), median(of(true).flat())];
    const countingSeconds = countingTime();
    const cost = ratio.median - 1 + countingSeconds / off;
    if (options.json) console.log(JSON.stringify({ off, on, ratio, countingSeconds, cost }));
    else report({ off, on, ratio, countingSeconds, cost, steps: [of(false).flat().length, of(true).flat().length] });
    return cost < LIMIT ? 0 : 1;
  } finally {
    run.kill('SIGTERM');
    await new Promise((resolve) => run.once('close', resolve));
    await rm(home.directory, { recursive: true, force: true });
  }
}

function launch(home: Home, recipe: string) {
  const settings = ['workers=1', 'steps=1000000', 'engine.threadsPerWorker=1', 'checkpoint.everySteps=1000000'];
  const set = [...settings, `data.directory=${DEMO_DATA}`].flatMap((setting) => ['--set', setting]);
  const words = ['launch', recipe, '--local', '1', ...set, '--home', home.directory, '--json'];
  return spawn(process.execPath, [WEFT, ...words], { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Waits until the run has compiled everything. */
async function begun(home: Home, run: ReturnType<typeof launch>) {
  let printed = '';
  run.stdout.on('data', (chunk) => {
    printed += chunk;
  });
  for (;;) {
    if (run.exitCode !== null) throw new WeftError('internal', `the run ended with ${run.exitCode}`);
    const runId = /"runId":"([^"]+)"/.exec(printed)?.[1];
    const coordinator = await readCoordinatorFile(home);
    if (runId !== undefined && coordinator !== undefined)
      if ((await stepTimes(home, runId)).length > COMPILING_STEPS) return { runId, coordinator };
    await sleep(200);
  }
}

/** Everybody looks, until the returned function is called. */
async function lookAt(
  { metricsAddress, pageAddress }: { readonly metricsAddress: string; readonly pageAddress?: string },
  home: Home,
  runId: string,
): Promise<() => Promise<void>> {
  const leaving = new AbortController();
  const { signal } = leaving;
  const answer = await fetch(`http://${metricsAddress}/sd/workers`);
  const groups = (await answer.json()) as { readonly targets: readonly string[] }[];
  const pages = [metricsAddress, ...groups.flatMap(({ targets }) => targets)];
  const scrape = async () => {
    while (!signal.aborted) {
      for (const page of pages) await (await fetch(`http://${page}/metrics`, { signal })).text();
      await sleep(SCRAPE_MS, undefined, { signal });
    }
  };
  const follow = async () => {
    const stream = await fetch(`http://${pageAddress}/api/stream?run=${runId}`, { signal });
    for await (const _ of stream.body ?? []);
  };
  const watching = spawn(process.execPath, [WEFT, 'watch', runId, '--home', home.directory], { stdio: 'ignore' });
  const all = Promise.allSettled([scrape(), ...(pageAddress === undefined ? [] : [follow(), follow()])]);
  // The terminal's own start is no part of what it costs to follow.
  await sleep(3000);
  return async () => {
    leaving.abort();
    watching.kill('SIGINT');
    await Promise.all([all, new Promise((resolve) => watching.once('close', resolve))]);
  };
}

/** When each step was committed, and how long its rank took for it. */
async function stepTimes(home: Home, runId: string) {
  const text = await readFile(home.metricsFile(runId), 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    const row = parseMetricsRow(line);
    if (row === undefined) return [];
    const seconds = Object.values(row.seconds).reduce<number>((sum, each) => sum + (each ?? 0), 0);
    return [{ atMs: committedAtMs(row), seconds }];
  });
}

/** What a worker spends on counting a step. */
function countingTime(): number {
  const clock = new WorkClock();
  const metrics = new WorkerMetrics(clock);
  const sources = ['captioned', 'interleaved', 'text'];
  metrics.joinedRun({ runId: 'bench', rank: 0, worldSize: 1, generation: 1, sources });
  const each = { captioned: 4, interleaved: 4, text: 1 };
  const rounds = 10_000;
  const beganMs = performance.now();
  for (let step = 1; step <= rounds; step++) {
    for (const bucket of ['waitingForData', 'computing', 'communicating', 'computing', 'communicating'] as const)
      clock.enter(bucket);
    metrics.stepDone({
      step,
      applied: true,
      seconds: { data: 0.01, compute: 0.2, communication: 0.01, apply: 0.01 },
      ringBytes: { sent: 1000, received: 1000 },
      batch: {
        sequences: each,
        images: each,
        lossTokens: each,
        queuedBatches: 1,
        decoded: { images: step, seconds: step, replacedThreads: 0 },
      },
    });
  }
  return (performance.now() - beganMs) / 1000 / rounds;
}

function report(found: {
  readonly off: number;
  readonly on: number;
  readonly ratio: ReturnType<typeof pairedSpeedup>;
  readonly countingSeconds: number;
  readonly cost: number;
  readonly steps: readonly number[];
}): void {
  const { off, on, ratio, countingSeconds, cost, steps } = found;
  const ms = (seconds: number) => `${(seconds * 1000).toFixed(2)} ms`;
  const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
  console.log(`nobody looks     ${ms(off)} a step, median of ${steps[0]}`);
  console.log(`everybody looks  ${ms(on)} a step, median of ${steps[1]}`);
  console.log(
    `on over off      ${ratio.median.toFixed(4)} (rounds from ${ratio.lowest.toFixed(4)} to ${ratio.highest.toFixed(4)})`,
  );
  console.log(`counting alone   ${(countingSeconds * 1e6).toFixed(1)} µs a step, ${percent(countingSeconds / off)}`);
  console.log(`together         ${percent(cost)} of a step${cost < LIMIT ? '' : `, over ${percent(LIMIT)}`}`);
}
