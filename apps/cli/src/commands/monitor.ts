import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WeftError } from '@weft/common';
import { Home, makeDirectory, readCoordinatorFile, writeFileAtomically } from '@weft/files';
import { grafanaDataSources, grafanaProviders, prometheusConfig, prometheusRules } from '@weft/monitoring';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { EXIT } from '../report-error.js';
import { print, printJson, type Terminal } from '../terminal.js';

export interface MonitorOptions {
  /** `host:port` of the metrics of a coordinator elsewhere; undefined: the one of the home, also the next one. */
  readonly metrics?: string;
  readonly port: number;
  readonly grafanaPort: number;
  /** All times of scrapes and alerts are so many times as long. */
  readonly timeScale: number;
}

const DASHBOARDS = fileURLToPath(new URL('../../../../deploy/grafana/dashboards/', import.meta.url));
const LOOPBACK = '127.0.0.1';
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 200;
const INSTALL_PROMETHEUS = 'apt-get install prometheus, or brew install prometheus';

/**
 * `weft monitor`: runs a Prometheus, and where it is installed a Grafana, on this machine alone, with the alerts and dashboards of
 * `deploy`. Ctrl-C ends them; what they stored stays in the home.
 *
 * @throws WeftError `not_found` without Prometheus, `failed_precondition` when it does not start
 */
export async function monitor(context: CommandContext, options: MonitorOptions): Promise<number> {
  const { terminal, json } = context;
  const prometheus = findProgram('prometheus', terminal.env);
  if (prometheus === undefined)
    throw new WeftError('not_found', 'Prometheus is not installed', {
      hint: `${INSTALL_PROMETHEUS}; then weft monitor`,
    });
  const home = new Home(context.home);
  const interrupts = new Interrupts();
  const programs: Program[] = [];
  try {
    const url = `http://${LOOPBACK}:${options.port}`;
    const config = await writePrometheusFiles(home, options);
    programs.push(startPrometheus(prometheus, home, config, options));
    await ready(programs[0], `${url}/-/ready`, interrupts.first);
    const grafana = await startGrafana(home, terminal, url, options);
    if (grafana !== undefined) programs.push(grafana);
    if (json) printJson(terminal, { prometheus: url, grafana: grafana && `http://${LOOPBACK}:${options.grafanaPort}` });
    else {
      print(terminal, `Prometheus: ${url}/alerts`);
      print(
        terminal,
        grafana === undefined
          ? 'Grafana is not installed: see grafana.com/grafana/download, then come back; or open deploy/grafana/dashboards in yours'
          : `Grafana: http://${LOOPBACK}:${options.grafanaPort}/dashboards`,
      );
    }
    await Promise.race([
      ...programs.map(({ ended }) => ended),
      options.metrics === undefined ? followCoordinator(home, interrupts.first) : aborted(interrupts.first),
    ]);
    const failed = programs.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
    if (failed !== undefined && !interrupts.first.aborted) throw didNotRun(failed);
    return EXIT.done;
  } finally {
    for (const { child } of programs) child.kill('SIGTERM');
    await Promise.all(programs.map(({ ended }) => ended));
    interrupts.close();
  }
}

/** A program that this command started. */
interface Program {
  readonly name: string;
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  /** What it last wrote. */
  readonly lastLines: () => string;
}

function start(name: string, path: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let tail = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      tail = `${tail}${chunk}`.slice(-2000);
    });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  return { name, child, ended, lastLines: () => tail.trimEnd().split('\n').slice(-3).join('\n') };
}

function startPrometheus(path: string, home: Home, config: string, { port }: MonitorOptions): Program {
  return start('Prometheus', path, [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(home.monitorDirectory, 'prometheus')}`,
    '--storage.tsdb.retention.time=30d',
    `--web.listen-address=${LOOPBACK}:${port}`,
    '--log.level=warn',
  ]);
}

async function writePrometheusFiles(home: Home, { metrics, timeScale }: MonitorOptions): Promise<string> {
  const folder = home.monitorDirectory;
  await makeDirectory(folder);
  const [config, rules] = [join(folder, 'prometheus.yml'), join(folder, 'rules.yml')];
  const discovery =
    metrics === undefined
      ? ({ kind: 'files', coordinator: coordinatorTargets(home), workers: home.targetsFile } as const)
      : ({ kind: 'http', coordinator: metrics } as const);
  await writeFileAtomically(rules, prometheusRules(timeScale));
  await writeFileAtomically(config, prometheusConfig({ discovery, rules, timeScale }));
  if (metrics === undefined) await writeCoordinatorTargets(home);
  return config;
}

const coordinatorTargets = (home: Home) => join(home.monitorDirectory, 'coordinator-targets.json');

/** @returns what was written, so that it is written only when it changes */
async function writeCoordinatorTargets(home: Home, written = ''): Promise<string> {
  const address = (await readCoordinatorFile(home))?.metricsAddress;
  const text = `${JSON.stringify(address === undefined || address === '' ? [] : [{ targets: [address] }])}\n`;
  if (text !== written) await writeFileAtomically(coordinatorTargets(home), text);
  return text;
}

/** A local launch brings a coordinator at another address each time: Prometheus follows the one of now. */
async function followCoordinator(home: Home, signal: AbortSignal): Promise<void> {
  let written = '';
  while (!signal.aborted) {
    written = await writeCoordinatorTargets(home, written);
    await sleep(POLL_MS, undefined, { signal }).catch(() => {});
  }
}

/** With everybody who reaches loopback as a viewer, and a data source and dashboards that nobody has to set up. */
async function startGrafana(
  home: Home,
  { env }: Terminal,
  prometheus: string,
  { grafanaPort }: MonitorOptions,
): Promise<Program | undefined> {
  const path = findProgram('grafana-server', env) ?? findProgram('grafana', env);
  if (path === undefined) return undefined;
  const provisioning = join(home.monitorDirectory, 'grafana-provisioning');
  for (const part of ['datasources', 'dashboards']) await makeDirectory(join(provisioning, part));
  await writeFileAtomically(join(provisioning, 'datasources', 'weft.yml'), grafanaDataSources(prometheus));
  await writeFileAtomically(join(provisioning, 'dashboards', 'weft.yml'), grafanaProviders(DASHBOARDS));
  const homePath = env.GF_PATHS_HOME || '/usr/share/grafana';
  const words = path.endsWith('grafana-server') ? [] : ['server'];
  return start('Grafana', path, [...words, '--homepath', homePath], {
    GF_SERVER_HTTP_ADDR: LOOPBACK,
    GF_SERVER_HTTP_PORT: `${grafanaPort}`,
    GF_PATHS_DATA: join(home.monitorDirectory, 'grafana'),
    GF_PATHS_PROVISIONING: provisioning,
    GF_AUTH_ANONYMOUS_ENABLED: 'true',
    GF_ANALYTICS_REPORTING_ENABLED: 'false',
    GF_ANALYTICS_CHECK_FOR_UPDATES: 'false',
  });
}

async function ready(program: Program | undefined, url: string, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + READY_TIMEOUT_MS;
  while (program !== undefined && !signal.aborted) {
    if (program.child.exitCode !== null || performance.now() > endMs) throw didNotRun(program);
    const answer = await fetch(url).catch(() => undefined);
    // Another program may have the port; ours then ends, and says why.
    if (answer?.ok === true && program.child.exitCode === null) return;
    await sleep(POLL_MS, undefined, { signal }).catch(() => {});
  }
}

function didNotRun({ name, lastLines }: Program): WeftError {
  return new WeftError('failed_precondition', `${name} does not run: ${lastLines() || 'it ended without a word'}`, {
    hint: `give another ${name === 'Grafana' ? '--grafana-port' : '--port'} where its port is taken; its files are in the folder monitor of the home`,
  });
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** The path of a program that can be run here. */
function findProgram(name: string, { PATH = '' }: Terminal['env']): string | undefined {
  return PATH.split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
