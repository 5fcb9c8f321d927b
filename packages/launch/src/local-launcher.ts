import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { RunsClient } from '@weft/client';
import { systemClock, WeftError } from '@weft/common';
import { Home, makeDirectory, readCoordinatorFile, shortPath } from '@weft/files';
import { gpuArguments, visibleGpus } from './assign-gpus.js';
import type { Cluster, ClusterRequest, Launcher } from './launcher.js';
import { LocalProcess } from './local-process.js';

/** Longer than it takes to load TensorFlow on a busy machine. */
const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
/** How long a process may take to flush its logs and leave the ring before it is killed. */
const GRACE_MS = 5000;
/** Log directories of earlier launches that are kept. */
const KEPT_LOGS = 20;

/** Options of all processes of a `LocalLauncher`. */
export interface LocalLauncherOptions {
  /** Absolute. */
  readonly home: string;
  /** The file that Node runs as the command `weft`. */
  readonly script: string;
  /** Of the processes; `WEFT_HOME` is set to `home`. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Starts coordinator and workers as children of this process. They end when it ends, also when it is killed. */
export class LocalLauncher implements Launcher {
  readonly #options: LocalLauncherOptions;

  constructor(options: LocalLauncherOptions) {
    this.#options = options;
  }

  async start(request: ClusterRequest): Promise<Cluster> {
    const { home, script, env } = this.#options;
    const { workers: count, expertWorkers = 0, onProgress, signal, recover = 'manual' } = request;
    await refuseSecondCoordinator(home);
    const logDirectory = await newLogDirectory(home);
    const startProcess = (name: string, args: readonly string[]) =>
      new LocalProcess({
        name,
        script,
        args,
        env: { ...env, WEFT_HOME: home },
        logFile: join(logDirectory, `${name.replace('the ', '').replaceAll(' ', '-')}.log`),
      });
    const processes: LocalProcess[] = [];
    try {
      const coordinator = startProcess('the coordinator', [
        'coordinator',
        '--port',
        '0',
        '--no-standby',
        '--recover',
        recover,
      ]);
      processes.push(coordinator);
      const address = await waitFor(processes, signal, async () => {
        const file = await readCoordinatorFile(new Home(home));
        return file?.processId === coordinator.processId ? file?.address : undefined;
      });
      const client = await RunsClient.connect(address);
      onProgress(`The coordinator listens on ${address}; logs in ${shortPath(logDirectory)}.`);
      const gpus = await visibleGpus(env);
      for (let index = 0; index < count; index++)
        processes.push(
          startProcess(`worker ${index}`, ['worker', '--coordinator', address, ...gpuArguments(index, gpus)]),
        );
      for (let index = 0; index < expertWorkers; index++)
        processes.push(startProcess(`expert worker ${index}`, ['expert-worker', '--coordinator', address]));
      const devices = await waitFor(processes, signal, async () => {
        const { workers } = await client.cluster();
        return workers.length >= count + expertWorkers ? workers.map(({ device }) => device) : undefined;
      });
      onProgress(
        `${count === 1 ? 'One worker is' : `${count} workers are`} ready${withExperts(expertWorkers)} (${[...new Set(devices)].join('; ')}).`,
      );
      const [, ...others] = processes;
      return new LocalCluster(client, logDirectory, coordinator, others.slice(0, count), others.slice(count));
    } catch (thrown) {
      await stopAll(processes);
      throw thrown;
    }
  }
}

class LocalCluster implements Cluster {
  readonly client: RunsClient;
  readonly logDirectory: string;
  readonly #coordinator: LocalProcess;
  readonly #workers: readonly LocalProcess[];
  readonly #expertWorkers: readonly LocalProcess[];
  #isClosing = false;

  constructor(
    client: RunsClient,
    logDirectory: string,
    coordinator: LocalProcess,
    workers: readonly LocalProcess[],
    expertWorkers: readonly LocalProcess[],
  ) {
    this.client = client;
    this.logDirectory = logDirectory;
    this.#coordinator = coordinator;
    this.#workers = workers;
    this.#expertWorkers = expertWorkers;
  }

  onExit(listener: (sentence: string) => void): void {
    for (const process of this.#processes)
      void process.exited.then(async () => {
        if (!this.#isClosing) listener(`${await process.exitReason()}.`);
      });
  }

  async failure(): Promise<WeftError | undefined> {
    const needed = [[this.#coordinator], this.#workers, this.#expertWorkers];
    const dead = needed
      .find((each) => each.length > 0 && each.every(({ exit: ending }) => ending !== undefined))
      ?.at(-1);
    return dead === undefined ? undefined : new WeftError('failed_precondition', await dead.exitReason());
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.client.close();
    await stopAll(this.#processes);
  }

  kill(): void {
    this.#isClosing = true;
    for (const process of this.#processes) process.kill();
  }

  /** In the order in which they are ended. */
  get #processes(): readonly LocalProcess[] {
    return [...this.#workers, ...this.#expertWorkers, this.#coordinator];
  }
}

function withExperts(expertWorkers: number): string {
  if (expertWorkers === 0) return '';
  return expertWorkers === 1 ? ', with one expert worker' : `, with ${expertWorkers} expert workers`;
}

async function refuseSecondCoordinator(home: string): Promise<void> {
  const running = await readCoordinatorFile(new Home(home));
  if (running === undefined) return;
  const client = await RunsClient.connect(running.address).catch(() => undefined);
  if (client === undefined) return;
  client.close();
  throw new WeftError('already_exists', `a coordinator already serves ${shortPath(home)} at ${running.address}`, {
    hint: 'leave out --local to use it, wait until its run has ended, or choose another --home',
  });
}

/** Creates `<home>/logs/<time>` and removes the oldest ones. */
async function newLogDirectory(home: string): Promise<string> {
  const parent = new Home(home).logsDirectory;
  const name = new Date().toISOString().replaceAll(':', '').replace('.', '-');
  const directory = join(parent, name);
  await makeDirectory(directory);
  const names = (await readdir(parent)).filter((each) => /^\d{4}-/.test(each)).toSorted();
  for (const old of names.slice(0, -KEPT_LOGS)) await rm(join(parent, old), { recursive: true, force: true });
  return directory;
}

/** Repeats `ask` until it returns a value. @throws WeftError when a process dies or the time is over. */
async function waitFor<T>(
  processes: readonly LocalProcess[],
  signal: AbortSignal,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const endMs = systemClock.monotonicMs() + READY_TIMEOUT_MS;
  for (;;) {
    const dead = processes.find(({ exit: ending }) => ending !== undefined);
    if (dead !== undefined) throw new WeftError('failed_precondition', await dead.exitReason());
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (systemClock.monotonicMs() > endMs) {
      const last = processes.at(-1);
      throw new WeftError('deadline_exceeded', `${last?.name} was not ready after ${READY_TIMEOUT_MS / 1000} s`, {
        hint: `see ${shortPath(last?.logFile ?? '')}`,
      });
    }
    await systemClock.sleep(POLL_MS, signal);
  }
}

async function stopAll(processes: readonly LocalProcess[]): Promise<void> {
  await Promise.all(processes.map((process) => process.stop(GRACE_MS)));
}
