import { Random } from '@weft/common';
import { hasEnded } from '@weft/contracts';
import { Faults } from './faults.js';
import { checkQueue } from './invariants.js';
import { percentile, type SimulationReport } from './report.js';
import type { PlannedRun } from './run-watch.js';
import { Violation } from './violation.js';
import { World, type WorldOptions } from './world.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** Workers of one host. */
const WORKERS_PER_HOST = 8;
/** A run to which nothing happens commits a step in this time, or it never will. */
const PATIENCE_MS = 10 * MINUTE_MS;
/** How long, once nothing goes wrong any more, all runs may take to come to their ends. */
const CALM_MS = 24 * HOUR_MS;

/** What is simulated. */
export interface SimulationOptions extends WorldOptions {
  readonly workers: number;
  /** With faults. After them the runs have the time they need. */
  readonly hours: number;
}

/**
 * Plays a cluster in virtual time: coordinators with the real `decide`, workers, a network and a store, and faults of all kinds.
 * Then the faults end, and every run must come to its end.
 *
 * @throws Violation when an invariant does not hold
 */
export function simulate(options: SimulationOptions): SimulationReport {
  const { seed, workers, hours } = options;
  const began = process.cpuUsage();
  const world = new World(options);
  try {
    return play(world, options, began);
  } catch (thrown) {
    if (!(thrown instanceof Error)) throw thrown;
    const atSeconds = (world.time.nowMs / 1000).toFixed(1);
    // What a worker of the simulation cannot do, a real one could not either.
    const violation = thrown instanceof Violation ? thrown : new Violation('model', thrown.message);
    violation.message += ` (seed ${seed}, ${workers} workers, ${hours} h, at ${atSeconds} s). The last decisions:\n${world.reasons.slice(-12).join('\n')}`;
    violation.stack = `${violation.message}\n${thrown.stack}`;
    throw violation;
  }
}

function play(world: World, { seed, workers, hours }: SimulationOptions, began: NodeJS.CpuUsage): SimulationReport {
  const random = Random.of('runs', seed);
  for (let i = 0; i < workers; i++) world.spawn(`h${Math.floor(i / WORKERS_PER_HOST)}`);
  world.time.runUntil(5000);
  const faults = new Faults(world, seed);
  const endMs = hours * HOUR_MS;
  while (world.time.nowMs < endMs) {
    launchWhatFits(world, random, workers);
    world.time.runUntil(Math.min(endMs, world.time.nowMs + MINUTE_MS));
    checkAll(world);
    resumeSome(world, random);
  }
  const held = sum(world, (runId) => world.watches.get(runId)?.heldMs() ?? 0);
  const trained = sum(world, (runId) => {
    const watch = world.watches.get(runId)!;
    return (
      watch.trainedMs - (world.store.runs.get(runId)?.ledger.stepsLost ?? 0) * watch.run.stepMs * watch.run.workers
    );
  });
  faults.end();
  world.heal();
  comeToEnds(world);
  const { user, system } = process.cpuUsage(began);
  const recoveries = [...world.watches.values()].flatMap(({ recoveriesMs }) => recoveriesMs).sort((a, b) => a - b);
  return {
    seed,
    workers,
    hours,
    cpuSeconds: (user + system) / 1e6,
    goodput: held === 0 ? 0 : Math.max(0, trained) / held,
    stepsCommitted: sum(world, (runId) => world.store.runs.get(runId)?.ledger.step ?? 0),
    stepsLost: sum(world, (runId) => world.store.runs.get(runId)?.ledger.stepsLost ?? 0),
    runs: world.watches.size,
    generations: sum(world, (runId) => world.store.runs.get(runId)?.state.generation ?? 0),
    coordinators: world.takeovers,
    decisions: world.decisions,
    recoverySeconds: {
      count: recoveries.length,
      median: percentile(recoveries, 0.5) / 1000,
      p95: percentile(recoveries, 0.95) / 1000,
      most: percentile(recoveries, 1) / 1000,
    },
    heartbeats: Math.round((workers * world.time.nowMs) / 2000),
    messages: Object.fromEntries([...world.messages].sort(([, a], [, b]) => b - a)),
    faults: Object.fromEntries(faults.counts),
  };
}

function sum(world: World, of: (runId: string) => number): number {
  return [...world.watches.keys()].reduce((total, runId) => total + of(runId), 0);
}

/** Keeps a few more runs in the queue than the cluster has room for: one takes half of it, the others less. */
function launchWhatFits(world: World, random: Random, workers: number): void {
  if (world.active?.answers !== true) return;
  const runs = [...world.active.state.runs.values()].filter(({ state }) => !hasEnded(state));
  let asked = runs.reduce((total, { state }) => total + state.config.workers, 0);
  while (asked < 1.2 * workers) {
    const isLarge = world.watches.size === 0;
    const size = isLarge
      ? Math.max(1, Math.floor(workers / 2))
      : 1 + random.below(Math.max(1, Math.floor(workers / 4)));
    const run: PlannedRun = {
      runId: `run-${world.watches.size}`,
      workers: size,
      steps: 5 + random.below(isLarge ? 3000 : 600),
      // Large runs have large batches.
      stepMs: 1000 * (size < 100 ? 10 + random.below(20) : 45 + random.below(30)),
      checkpointEverySteps: 5 + random.below(40),
      priority: random.below(10) === 0 ? 1 : 0,
    };
    world.launch(run);
    asked += size;
  }
}

/** A person looks at runs that have stopped or failed, sooner or later. */
function resumeSome(world: World, random: Random): void {
  for (const { state } of world.active?.state.runs.values() ?? [])
    if ((state.status === 'stopped' || state.status === 'failed') && random.below(5) === 0) world.resume(state.runId);
}

function checkAll(world: World): void {
  const { active, time } = world;
  if (active === undefined || !active.isIdle) return;
  const isFullHour = time.nowMs % HOUR_MS < MINUTE_MS;
  if (isFullHour) world.store.compare([...active.state.runs.values()].map(({ state }) => state));
  const stored = world.store.queue.list(active.nowMs);
  try {
    checkQueue(active.state, stored, active.nowMs);
  } catch (thrown) {
    throw new Violation('queue', (thrown as Error).message);
  }
  for (const { state, live } of active.state.runs.values()) {
    const watch = world.watches.get(state.runId);
    if (watch === undefined || (live.state !== 'training' && live.state !== 'reforming')) continue;
    const quietMs = time.nowMs - world.quietSinceMs(watch);
    if (quietMs <= PATIENCE_MS + 10 * watch.run.stepMs) continue;
    const minutes = Math.round(quietMs / MINUTE_MS);
    throw new Violation(
      'progress',
      `run ${state.runId} is ${live.state} at step ${state.step}, and nothing has happened for ${minutes} min`,
    );
  }
}

/** Nothing goes wrong any more: every run takes two more steps at least and is stopped, so that the next one gets its workers. */
function comeToEnds(world: World): void {
  const endMs = world.time.nowMs + CALM_MS;
  const first = new Map<string, number>();
  for (;;) {
    world.time.runUntil(world.time.nowMs + MINUTE_MS);
    checkAll(world);
    const { active } = world;
    if (active === undefined) continue;
    const runs = [...active.state.runs.values()];
    const open = runs.filter(({ state }) => {
      const since = first.get(state.runId);
      return (
        state.status !== 'finished' && !(since !== undefined && state.status === 'stopped' && state.step >= since + 2)
      );
    });
    if (open.length === 0) return;
    for (const { state } of open) {
      const { runId, status, step, config } = state;
      const since = first.get(runId) ?? step;
      // A run that went back has to come as far again.
      first.set(runId, Math.min(since, step));
      if (status === 'stopped' || status === 'failed') world.resume(runId);
      if (status === 'running' && step >= since + 2 && step < config.steps)
        active.handle({ kind: 'stop', runId, saveCheckpoint: true });
    }
    if (world.time.nowMs > endMs) {
      const waiting = open.map(({ state }) => `${state.runId} is ${state.status} at step ${state.step}`).join(', ');
      throw new Violation('progress', `${waiting}, a day after the last fault`);
    }
  }
}
