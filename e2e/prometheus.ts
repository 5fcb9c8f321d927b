import { spawn } from 'node:child_process';
import { freePort } from '@weft/testing';

import { command, type Home, RunningCommand, repository, until } from './weft.js';

interface Target {
  readonly scrapePool: string;
  readonly health: string;
  readonly scrapeUrl: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly lastError: string;
}

interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly state: string;
}

/** A real Prometheus, as `weft monitor` starts it on a home. */
export class Prometheus implements AsyncDisposable {
  readonly #url: string;
  readonly #command: RunningCommand;

  /** @param words more of the command line */
  static async start(home: Home, ...words: string[]): Promise<Prometheus> {
    const [port, grafanaPort] = [await freePort(), await freePort()];
    const all = ['monitor', '--json', '--port', `${port}`, '--grafana-port', `${grafanaPort}`, '--home', home.path];
    const child = spawn(process.execPath, [command, ...all, ...words], {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const running = new RunningCommand(child);
    await until(
      () => `Prometheus on port ${port}: ${running.stdout}`,
      () => {
        if (child.exitCode !== null) throw new Error(`weft monitor ended with ${child.exitCode}`);
        return running.stdout.includes('"prometheus"');
      },
    );
    return new Prometheus(`http://127.0.0.1:${port}`, running);
  }

  private constructor(url: string, running: RunningCommand) {
    this.#url = url;
    this.#command = running;
  }

  async targets(): Promise<readonly Target[]> {
    return (await this.#ask<{ activeTargets: Target[] }>('targets')).activeTargets;
  }

  /** Waits until it scrapes one coordinator and so many workers, and all of them answer. */
  async untilScraping(workers: number): Promise<readonly Target[]> {
    let found: readonly Target[] = [];
    await until(
      () => `${workers} workers and a coordinator to be up: ${JSON.stringify(found)}`,
      async () => {
        found = await this.targets();
        const up = (job: string) => found.filter(({ labels, health }) => labels.job === job && health === 'up').length;
        return up('weft-coordinator') === 1 && up('weft-workers') === workers && found.length === workers + 1;
      },
    );
    return found;
  }

  /** The rules, by their health. */
  async rules(): Promise<readonly { readonly name: string; readonly health: string; readonly lastError?: string }[]> {
    const { groups } = await this.#ask<{ groups: { rules: { name: string; health: string }[] }[] }>('rules');
    return groups.flatMap(({ rules }) => rules);
  }

  /** The runs, or instances, about which an alert fires. */
  async firing(name: string): Promise<readonly Alert['labels'][]> {
    const { alerts } = await this.#ask<{ alerts: Alert[] }>('alerts');
    return alerts
      .filter(({ labels, state }) => labels.alertname === name && state === 'firing')
      .map(({ labels }) => labels);
  }

  /** @param isFiring false: until it does not */
  async untilAlert(name: string, isFiring: boolean): Promise<void> {
    await until(
      () => `${name} to ${isFiring ? 'fire' : 'clear'}`,
      async () => (await this.firing(name)).length > 0 === isFiring,
    );
  }

  /** The last value of every series that an expression had between two moments, milliseconds since the Unix epoch. */
  async valuesOf(expression: string, startMs: number, endMs: number): Promise<readonly number[]> {
    const query = new URLSearchParams({
      query: expression,
      start: `${startMs / 1000}`,
      end: `${endMs / 1000}`,
      step: '300ms',
    });
    const { result } = await this.#ask<{ result: { values: [number, string][] }[] }>(`query_range?${query}`);
    return result.map(({ values }) => Number(values.at(-1)?.[1]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#command.process.kill('SIGINT');
    await this.#command.ended;
  }

  async #ask<Data>(path: string): Promise<Data> {
    const answer = (await (await fetch(`${this.#url}/api/v1/${path}`)).json()) as { data: Data; error?: string };
    if (answer.error !== undefined) throw new Error(`${path}: ${answer.error}`);
    return answer.data;
  }
}
