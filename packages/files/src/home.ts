import { isAbsolute, join, relative, resolve, sep } from 'node:path';

/**
 * The layout of a home, the one folder of a machine in which Weft keeps what it makes:
 *
 *   coordinator.json            where the living coordinator listens
 *   data/<dataset>/             shards and indexes
 *   logs/                       what background processes print
 *   runs/<id>/config.json       what was launched
 *   runs/<id>/events.jsonl      the log that a restarted coordinator knows everything from
 *   runs/<id>/metrics.jsonl     one row a step
 *   runs/<id>/state.json        what a long log came to when it was last read; a cache
 *   runs/<id>/checkpoints/      step-00000060/ …
 *   sweeps/<id>/                runs.csv, fit.json and fit.svg of a sweep
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

  stateFile(runId: string): string {
    return join(this.runDirectory(runId), 'state.json');
  }

  sweepDirectory(sweepId: string): string {
    return join(this.directory, 'sweeps', sweepId);
  }

  /** A path as a configuration writes it: `.weft/…` means this home, wherever it is; all else is relative to here. */
  resolvePath(path: string): string {
    if (path === '.weft' || path.startsWith(`.weft${sep}`)) return join(this.directory, path.slice('.weft'.length));
    return resolve(path);
  }
}

/** A path as short as it can be written: relative when it lies below the current directory. */
export function shortPath(path: string): string {
  const here = relative('.', path);
  return here === '' || here.startsWith('..') || isAbsolute(here) ? path : here;
}
