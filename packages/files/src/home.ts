import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { isRemote } from './remote-path.js';

/**
 * The layout of a home, the one folder of a machine in which Weft keeps what it makes:
 *
 *   coordinator.json            where the living coordinator listens
 *   page-token                  what a browser must know of a page that others can reach
 *   prometheus-targets.json     where the pages of the workers' metrics are
 *   monitor/                    what `weft monitor` gives Prometheus and Grafana, and what they keep
 *   data/<dataset>/             shards and indexes
 *   logs/                       what background processes print
 *   runs/<id>/config.json       what was launched
 *   runs/<id>/events.jsonl      the log that a restarted coordinator knows everything from
 *   runs/<id>/metrics.jsonl     one row a step
 *   runs/<id>/goodput.json      what the time of its workers was spent on
 *   runs/<id>/curves/           the numbers of metrics.jsonl in columns; a cache
 *   runs/<id>/state.json        what a long log came to when it was last read; a cache
 *   runs/<id>/ledger.json       what a long run has consumed, with the entries of its last steps; a cache
 *   runs/<id>/checkpoints/      step-00000060/ …
 *   runs/<id>/evaluations/      step-00000060/ …: scores of tasks, and every example
 *   sweeps/<id>/                runs.csv, fit.json and fit.svg of a sweep; table.md, table.csv, results.json and figure.svg of a grid
 */
export class Home {
  /** Absolute. */
  readonly directory: string;

  /** @param option the value of `--home`; without one `$WEFT_HOME` counts, else `.weft` in the current directory. */
  constructor(option: string | undefined, env: Readonly<Record<string, string | undefined>> = process.env) {
    this.directory = resolve(option ?? (env.WEFT_HOME || '.weft'));
  }

  get coordinatorFile(): string {
    return join(this.directory, 'coordinator.json');
  }

  /** What a browser must know where the web page is served beyond loopback; its owner alone may read it. */
  get pageTokenFile(): string {
    return join(this.directory, 'page-token');
  }

  get targetsFile(): string {
    return join(this.directory, 'prometheus-targets.json');
  }

  get monitorDirectory(): string {
    return join(this.directory, 'monitor');
  }

  get logsDirectory(): string {
    return join(this.directory, 'logs');
  }

  get runsDirectory(): string {
    return join(this.directory, 'runs');
  }

  runDirectory(runId: string): string {
    return join(this.runsDirectory, runId);
  }

  configFile(runId: string): string {
    return join(this.runDirectory(runId), 'config.json');
  }

  eventsFile(runId: string): string {
    return join(this.runDirectory(runId), 'events.jsonl');
  }

  metricsFile(runId: string): string {
    return join(this.runDirectory(runId), 'metrics.jsonl');
  }

  goodputFile(runId: string): string {
    return join(this.runDirectory(runId), 'goodput.json');
  }

  stateFile(runId: string): string {
    return join(this.runDirectory(runId), 'state.json');
  }

  ledgerFile(runId: string): string {
    return join(this.runDirectory(runId), 'ledger.json');
  }

  sweepDirectory(sweepId: string): string {
    return join(this.directory, 'sweeps', sweepId);
  }

  /** A path as a configuration writes it: `.weft/…` means this home, wherever it is; an address stays; all else is relative to here. */
  resolvePath(path: string): string {
    if (isRemote(path)) return path;
    if (path === '.weft' || path.startsWith(`.weft${sep}`)) return join(this.directory, path.slice('.weft'.length));
    return resolve(path);
  }
}

/** A path as short as it can be written: relative when it lies below the current directory. */
export function shortPath(path: string): string {
  if (isRemote(path)) return path;
  const here = relative('.', path);
  return here === '' || here.startsWith('..') || isAbsolute(here) ? path : here;
}
