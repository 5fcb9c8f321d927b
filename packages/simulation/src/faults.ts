import { Random } from '@weft/common';
import type { WorkerProcess } from './worker-process.js';
import type { World } from './world.js';

const HOUR_MS = 3_600_000;

/** What happens to a cluster, and how often in an hour: about once a minute something does. */
const RATES = {
  kill: 12,
  hang: 8,
  stall: 8,
  slows: 8,
  leave: 6,
  deviceFails: 2,
  engineFails: 1,
  ringBreaks: 4,
  hostDies: 2,
  hostIsCutOff: 4,
  hostsAreCut: 4,
  coordinatorDies: 1,
  coordinatorHangs: 0.5,
  clockJumps: 0.5,
  clockSteps: 2,
  checkpointIsLost: 0.3,
  personStops: 0.5,
} as const;
type Fault = keyof typeof RATES;

/** Lets things go wrong at random times, until it is ended. */
export class Faults {
  readonly #world: World;
  readonly #random: Random;
  /** Of every kind, how many there were. */
  readonly counts = new Map<Fault, number>();
  #isOver = false;

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#random = Random.of('faults', seed);
    for (const fault of Object.keys(RATES) as Fault[]) this.#plan(fault);
  }

  end(): void {
    this.#isOver = true;
  }

  #plan(fault: Fault): void {
    const meanMs = HOUR_MS / RATES[fault];
    this.#world.time.after(-meanMs * Math.log(1 - this.#random.uniform()), () => {
      if (this.#isOver) return;
      this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
      this.#happen(fault);
      this.#plan(fault);
    });
  }

  #happen(fault: Fault): void {
    const world = this.#world;
    const random = this.#random;
    const seconds = (least: number, most: number) => 1000 * (least + random.below(most - least));
    switch (fault) {
      case 'kill':
        this.#touch(this.#worker())?.die(random.below(3) === 0);
        break;
      case 'hang':
        this.#touch(this.#worker())?.hang(seconds(1, 60));
        break;
      case 'stall':
        this.#touch(this.#worker())?.stall(seconds(1, 60), (['up', 'down', 'both'] as const)[random.below(3)]!);
        break;
      case 'slows':
        // Nobody may give it up for that.
        this.#worker()?.slowDown(seconds(1, 90), seconds(60, 600));
        break;
      case 'leave':
        this.#touch(this.#worker())?.leave();
        break;
      case 'deviceFails':
        this.#touch(this.#worker())?.fail('device_failed');
        break;
      case 'engineFails':
        this.#touch(this.#worker())?.fail('internal');
        break;
      case 'ringBreaks': {
        const ring = this.#worker()?.ring;
        if (ring !== undefined) world.breakRing(ring);
        break;
      }
      case 'hostDies':
        for (const process of this.#host()) this.#touch(process)?.die(true);
        break;
      case 'hostIsCutOff': {
        const durationMs = seconds(1, 120);
        for (const process of this.#host()) this.#touch(process)?.stall(durationMs, 'both');
        break;
      }
      case 'hostsAreCut': {
        const [a, b] = this.#neighbours();
        if (a !== undefined && b !== undefined) world.cut(a, b, seconds(10, 300));
        break;
      }
      case 'coordinatorDies':
        world.active?.die();
        break;
      case 'coordinatorHangs': {
        const durationMs = seconds(1, 40);
        world.active?.suspend(durationMs);
        world.touched();
        // A standby does not wait for longer than the lease lasts.
        if (durationMs > 10_000)
          world.time.after(10_000, () => {
            if (world.active?.isSuspended === true) world.takeOver();
          });
        break;
      }
      case 'clockJumps':
        world.active?.setClock((random.below(2) === 0 ? -1 : 1) * seconds(1, 3600));
        world.touched();
        break;
      case 'clockSteps':
        // As when its clock is set by another, which nobody would notice.
        world.active?.setClock((random.below(2) === 0 ? -1 : 1) * (random.below(5000) + 1));
        break;
      case 'checkpointIsLost':
        this.#loseCheckpoint();
        break;
      case 'personStops': {
        const running = [...(world.active?.state.runs.values() ?? [])].filter(
          ({ state }) => state.status === 'running',
        );
        const runId = running[random.below(running.length)]?.state.runId;
        if (runId !== undefined) world.active?.handle({ kind: 'stop', runId, saveCheckpoint: random.below(2) === 0 });
        break;
      }
    }
  }

  #loseCheckpoint(): void {
    const runs = [...this.#world.store.runs.values()].filter(({ checkpoints }) => checkpoints.size > 0);
    const { checkpoints } = runs[this.#random.below(runs.length)] ?? {};
    if (checkpoints !== undefined) checkpoints.delete(Math.max(...checkpoints.keys()));
  }

  #worker(): WorkerProcess | undefined {
    const { processes } = this.#world;
    const chosen = this.#random.below(processes.size);
    let at = 0;
    for (const process of processes.values()) if (at++ === chosen) return process;
    return undefined;
  }

  #host(): readonly WorkerProcess[] {
    const hostName = this.#worker()?.identity.hostName;
    return [...this.#world.processes.values()].filter(({ identity }) => identity.hostName === hostName);
  }

  /** Two hosts that may be neighbours in a ring. */
  #neighbours(): readonly (string | undefined)[] {
    const first = this.#worker();
    const others = [...this.#world.processes.values()].filter(
      ({ identity, ring }) => ring === first?.ring && identity.hostName !== first?.identity.hostName,
    );
    const a = first?.identity.hostName;
    const names = others.map(({ identity }) => identity.hostName).sort();
    return [a, names.find((name) => name > (a ?? '')) ?? names[0]];
  }

  #touch(process: WorkerProcess | undefined): WorkerProcess | undefined {
    const runId = process?.worker.runId;
    if (runId !== undefined) this.#world.watches.get(runId)?.touched();
    return process;
  }
}
