import { spawn, spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What a fault may touch.
 *
 * @typedef {{
 *   home: string,
 *   runId: string,
 *   workers: import('./supervised.mjs').Supervised[],
 *   coordinators: import('./supervised.mjs').Supervised[],
 *   namespaces: import('./namespaces.mjs').Namespaces | undefined,
 *   redis: Redis | undefined,
 *   isOnTmpfs: boolean,
 *   random: (below: number) => number,
 * }} Cluster
 */

/**
 * A fault: what it does until it is over, and what it needs.
 *
 * @typedef {{
 *   what: string,
 *   needs?: 'namespaces' | 'tmpfs' | 'redis',
 *   mayFail?: boolean,
 *   run: (cluster: Cluster) => Promise<string>,
 * }} Fault
 */

/** @template T @param {T[]} items @param {(below: number) => number} random @returns {T} */
const pick = (items, random) => /** @type {T} */ (items[random(items.length)]);

/** Two different numbers of workers. @param {Cluster} cluster */
function pair({ workers, random }) {
  const first = random(workers.length);
  return [first, (first + 1 + random(workers.length - 1)) % workers.length];
}

/** Something is done to the network until some seconds have passed. */
async function cutFor(/** @type {number} */ seconds, /** @type {() => void} */ cut, /** @type {() => void} */ heal) {
  cut();
  try {
    await sleep(seconds * 1000);
  } finally {
    heal();
  }
}

/** @param {Cluster} cluster */
function networkOf({ namespaces }) {
  if (namespaces === undefined) throw new Error('there are no namespaces');
  return namespaces;
}

/** @type {Record<string, Fault>} */
export const FAULTS = {
  kill: {
    what: 'kill -9 of a worker, which is started again after a second',
    run: async ({ workers, random }) => {
      const worker = pick(workers, random);
      await worker.kill();
      return worker.name;
    },
  },
  stop: {
    what: 'SIGSTOP of a worker for 15 s',
    run: async ({ workers, random }) => {
      const worker = pick(workers, random);
      worker.signal('SIGSTOP');
      await sleep(15_000);
      worker.signal('SIGCONT');
      return worker.name;
    },
  },
  coordinator: {
    what: 'kill -9 of a coordinator, which is started again after a second',
    run: async ({ coordinators, random }) => {
      const coordinator = pick(coordinators, random);
      await coordinator.kill();
      return coordinator.name;
    },
  },
  pause: {
    what: 'SIGSTOP of the coordinators for 12 s',
    run: async ({ coordinators }) => {
      for (const each of coordinators) each.signal('SIGSTOP');
      await sleep(12_000);
      for (const each of coordinators) each.signal('SIGCONT');
      return '';
    },
  },
  cut: {
    what: 'two workers are cut from each other for 20 s',
    needs: 'namespaces',
    run: async (cluster) => {
      const network = networkOf(cluster);
      const [a = 0, b = 0] = pair(cluster);
      await cutFor(
        20,
        () => {
          network.block(a, network.address(b));
          network.block(b, network.address(a));
        },
        () => {
          network.unblock(a, network.address(b));
          network.unblock(b, network.address(a));
        },
      );
      return `worker ${a} and worker ${b}`;
    },
  },
  oneWay: {
    what: 'what a worker sends to another does not arrive for 20 s',
    needs: 'namespaces',
    run: async (cluster) => {
      const network = networkOf(cluster);
      const [a = 0, b = 0] = pair(cluster);
      await cutFor(
        20,
        () => network.block(a, network.address(b)),
        () => network.unblock(a, network.address(b)),
      );
      return `worker ${a} to worker ${b}`;
    },
  },
  isolate: {
    what: 'a worker does not reach the coordinator for 20 s',
    needs: 'namespaces',
    run: async (cluster) => {
      const network = networkOf(cluster);
      const a = cluster.random(cluster.workers.length);
      await cutFor(
        20,
        () => network.block(a, network.gateway),
        () => network.unblock(a, network.gateway),
      );
      return `worker ${a}`;
    },
  },
  flaky: {
    what: 'a link drops everything for 0.3 s of every second, for 15 s',
    needs: 'namespaces',
    run: async (cluster) => {
      const network = networkOf(cluster);
      const [a = 0, b = 0] = pair(cluster);
      for (let i = 0; i < 15; i++) {
        await cutFor(
          0.3,
          () => network.block(a, network.address(b)),
          () => network.unblock(a, network.address(b)),
        );
        await sleep(700);
      }
      return `worker ${a} to worker ${b}`;
    },
  },
  slow: {
    what: 'all that a worker sends is late or lost for 20 s, where the kernel has netem; else it has 20 Mbit/s; else nothing',
    needs: 'namespaces',
    run: async (cluster) => {
      const network = networkOf(cluster);
      const a = cluster.random(cluster.workers.length);
      await cutFor(
        20,
        () => network.slowDown(a),
        () => network.speedUp(a),
      );
      return `worker ${a}, ${network.shaping ?? 'this kernel has neither netem nor tbf'}`;
    },
  },
  fullDisk: {
    what: 'the disk of the home is full for 10 s',
    needs: 'tmpfs',
    mayFail: true,
    run: async ({ home }) => {
      const filler = join(home, 'filler');
      const { bavail, bsize } = statfsSync(home);
      spawnSync('fallocate', ['-l', String(bavail * bsize), filler]);
      await sleep(10_000);
      rmSync(filler, { force: true });
      return `${((bavail * bsize) / 2 ** 20).toFixed(0)} MiB`;
    },
  },
  vanish: {
    what: 'the checkpoints are away for 20 s, and all workers are killed meanwhile',
    mayFail: true,
    run: async ({ home, runId, workers }) => {
      const folder = join(home, 'runs', runId, 'checkpoints');
      const away = `${folder}-away`;
      if (existsSync(folder)) renameSync(folder, away);
      await Promise.all(workers.map((worker) => worker.kill()));
      await sleep(20_000);
      if (!existsSync(away)) return 'there was none yet';
      rmSync(folder, { recursive: true, force: true });
      renameSync(away, folder);
      return '';
    },
  },
  redis: {
    what: 'Redis is killed and started again after 3 s',
    needs: 'redis',
    run: async ({ redis }) => {
      await redis?.kill();
      await sleep(3000);
      redis?.start();
      return '';
    },
  },
};

/** A Redis server that writes every change to its disk. */
export class Redis {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child;

  /** @param {number} port @param {string} directory */
  constructor(port, directory) {
    this.port = port;
    this.directory = directory;
    this.start();
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  start() {
    const words = ['--port', String(this.port), '--dir', this.directory, '--save', '', '--appendonly', 'yes'];
    this.#child = spawn('redis-server', [...words, '--appendfsync', 'always'], { stdio: 'ignore' });
  }

  async kill() {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await gone;
  }
}
