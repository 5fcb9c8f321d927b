import { Random } from '@weft/common';
import type { RunRecord } from '@weft/coordination';
import { SimulatedCluster } from './simulated-cluster.js';

/** What can happen to a simulated cluster, and what each means. */
export const DISASTERS = {
  kill: 'a worker process dies',
  hang: 'a worker hangs: its stream stays open, but it sends nothing any more',
  'break-ring': 'a connection between two workers fails',
  fail: 'the training of a worker ends with an error',
  add: 'a new worker connects',
  restart: 'the coordinator dies and another takes over',
  damage: 'a byte of the newest checkpoint changes',
} as const;

/** One disaster, as soon as the run has committed `step` for the first time. */
export interface Disaster {
  readonly kind: keyof typeof DISASTERS;
  readonly step: number;
  /** Index among the workers that are left; ignored for disasters that are not about a worker. */
  readonly worker: number;
}

/** One run on a cluster, and what happens to it. */
export interface Scenario {
  readonly workers: number;
  readonly steps: number;
  readonly checkpointEverySteps: number;
  readonly maxAttempts: number;
  /** Orders the messages and chooses random disasters. The same scenario with the same seed goes the same way. */
  readonly seed: number;
  readonly disasters: readonly Disaster[];
  /** Chance of a random disaster in every round, 0 to 1. */
  readonly chaos: number;
}

/** One thing that happened: a decision that the run's log records, or a disaster. */
export interface ScenarioLine {
  /** Simulated milliseconds since the start. */
  readonly timeMs: number;
  /** Of a decision, the kind of its last record. */
  readonly kind: RunRecord['kind'] | 'disaster';
  /** One sentence without its full stop. */
  readonly text: string;
}

/** How a simulated run ended. */
export interface ScenarioResult {
  readonly status: string;
  readonly step: number;
  readonly reason: string;
  readonly timeMs: number;
  /** Rings formed. */
  readonly generations: number;
  readonly workersLost: number;
  /** Steps that were trained and then rolled back. */
  readonly stepsLost: number;
  readonly checkpointsWritten: number;
}

/** Simulated time that a round takes. */
const ROUND_MS = 200;
/** A run that makes no progress for this many rounds will make none. */
const MAX_IDLE_ROUNDS = 600;

/**
 * Plays a scenario with the real decisions of the coordinator, and checks their invariants after every event.
 *
 * @param onLine called for everything that happens, in order.
 * @throws AssertionError when an invariant does not hold: then `decide` has a bug.
 */
export function simulateScenario(scenario: Scenario, onLine: (line: ScenarioLine) => void): ScenarioResult {
  const random = Random.of('simulation', scenario.seed);
  let timeMs = 0;
  const report = (kind: ScenarioLine['kind'], text: string) => onLine({ timeMs, kind, text });
  const cluster = new SimulatedCluster({
    onDecision: ({ records, reason }) => {
      const last = records.at(-1);
      if (last !== undefined) report(last.record.kind, reason);
    },
  });
  for (let i = 0; i < scenario.workers; i++) cluster.spawnWorker();
  const run = cluster.launch(scenario);
  const due = scenario.disasters.toSorted((a, b) => a.step - b.step);
  let progressRound = 0;
  let recordCount = 0;
  let reachedStep = 0;
  for (let round = 0; isUnderWay(cluster.view(run).status) && round - progressRound < MAX_IDLE_ROUNDS; round++) {
    // A roll-back does not undo that a step was reached.
    reachedStep = Math.max(reachedStep, cluster.view(run).step);
    while (due[0] !== undefined && reachedStep >= due[0].step) applyDisaster(cluster, due.shift()!, report);
    if (random.uniform() < scenario.chaos) applyDisaster(cluster, chooseDisaster(random, cluster), report);
    shuffledRound(cluster, random);
    timeMs += ROUND_MS;
    cluster.advance(ROUND_MS);
    if (run.log.length > recordCount) progressRound = round;
    recordCount = run.log.length;
  }
  cluster.check();
  const { status, step, reason, generation } = cluster.view(run);
  const count = (kind: RunRecord['kind']) => run.log.filter((record) => record.kind === kind).length;
  return {
    status,
    step,
    reason,
    timeMs,
    generations: generation,
    workersLost: count('workerLost'),
    stepsLost: count('committed') - step,
    checkpointsWritten: count('checkpointWritten'),
  };
}

function isUnderWay(status: string): boolean {
  return status === 'queued' || status === 'running' || status === 'stopping';
}

function applyDisaster(
  cluster: SimulatedCluster,
  { kind, worker }: Disaster,
  report: (kind: 'disaster', text: string) => void,
): void {
  const target = cluster.workers[worker];
  const isAboutWorker = kind === 'kill' || kind === 'hang' || kind === 'break-ring' || kind === 'fail';
  if (isAboutWorker && target === undefined) return;
  report('disaster', isAboutWorker ? `${DISASTERS[kind]} (${target?.workerId})` : DISASTERS[kind]);
  if (kind === 'kill') cluster.killWorker(worker, true);
  if (kind === 'hang' && target !== undefined) target.isHanging = true;
  if (kind === 'break-ring') target?.breakRing();
  if (kind === 'fail') target?.fail();
  if (kind === 'add') cluster.spawnWorker();
  if (kind === 'restart') cluster.restartCoordinator();
  if (kind === 'damage')
    for (const run of cluster.runs) if (run.checkpoints.size > 0) cluster.damageNewestCheckpoint(run);
}

/** Adds workers about as often as it removes them. */
function chooseDisaster(random: Random, cluster: SimulatedCluster): Disaster {
  const kinds = ['kill', 'add', 'hang', 'add', 'break-ring', 'restart', 'fail', 'damage'] as const;
  const kind = kinds[random.below(kinds.length)] ?? 'kill';
  return { kind, step: 0, worker: random.below(Math.max(1, cluster.workers.length)) };
}

/** Like `SimulatedCluster.round`, but with the workers in a random order. */
function shuffledRound(cluster: SimulatedCluster, random: Random): void {
  const order = cluster.workers.map((worker) => ({ worker, key: random.uint32() })).sort((a, b) => a.key - b.key);
  for (const { worker } of order) {
    if (worker.isHanging) continue;
    worker.receive();
    worker.compute();
    cluster.deliver(cluster.workers.indexOf(worker));
  }
}
