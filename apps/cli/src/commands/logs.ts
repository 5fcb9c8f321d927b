import { type RunLogLine, RunLogs, type RunsClient, withRun } from '@weft/client';
import { plural, systemClock } from '@weft/common';
import { hasEnded, type RunView } from '@weft/contracts';
import { Home, shortPath } from '@weft/files';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { isAtLeast, type LeastLevel, renderLogLine } from '../logs/render-log-line.js';
import { EXIT } from '../report-error.js';
import { printLines } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

/** Options of `weft logs`. */
export interface LogsOptions {
  readonly rank?: number;
  readonly follow?: boolean;
  readonly level?: LeastLevel;
}

const POLL_MS = 300;
/** How often it is asked whether the run that is followed has ended. */
const ASK_MS = 2000;

/** `weft logs`: what the processes of this home wrote about a run, in the order of time; `--follow` until it ends. */
export async function logs(context: CommandContext, text: string, options: LogsOptions): Promise<number> {
  const home = new Home(context.home);
  return withRun(context, text, async ({ run, client }) => {
    const { runId, createdAtMs } = run;
    const reader = new RunLogs(home, { runId, sinceMs: createdAtMs });
    const printed = await printNew(context, reader, options);
    const missing = await elsewhere({ context, run, client, reader, printed });
    if (missing !== undefined) print({ ...context.terminal, stdout: context.terminal.stderr }, missing);
    if (options.follow !== true || client === undefined || hasEnded(run)) return EXIT.done;
    return follow(context, { reader, run, client, options });
  });
}

/** Prints what was written since the last time; returns how many lines about the run there were. */
async function printNew({ terminal, json }: CommandContext, reader: RunLogs, options: LogsOptions): Promise<number> {
  let found = 0;
  for await (const line of reader.read()) {
    found++;
    if (!isWanted(line, options)) continue;
    if (json) printJson(terminal, { process: line.process, rank: line.rank ?? null, ...jsonOf(line) });
    else printLines(terminal, [renderLogLine(line, terminal.stdout.isTTY)]);
  }
  return found;
}

/** `--rank` is of workers that train: expert workers have numbers of their own. */
function isWanted(line: RunLogLine, { rank, level = 'debug' }: LogsOptions): boolean {
  if (rank !== undefined && (line.rank !== rank || !line.process.startsWith('worker'))) return false;
  return isAtLeast(line.level, level);
}

/** The line as its logger wrote it; what no logger wrote as a message. */
function jsonOf({ text, time, message, level }: RunLogLine): object {
  return time === '' ? { level, message } : (JSON.parse(text) as object);
}

interface Following {
  readonly reader: RunLogs;
  readonly run: RunView;
  readonly client: RunsClient;
  readonly options: LogsOptions;
}

async function follow(context: CommandContext, { reader, run, client, options }: Following): Promise<number> {
  const interrupts = new Interrupts();
  try {
    let askedAtMs = systemClock.monotonicMs();
    let isOver = false;
    while (!interrupts.first.aborted) {
      await systemClock.sleep(POLL_MS, interrupts.first).catch(() => {});
      await printNew(context, reader, options);
      // The lines of its end were read after it had ended.
      if (isOver) return EXIT.done;
      if (systemClock.monotonicMs() - askedAtMs < ASK_MS) continue;
      askedAtMs = systemClock.monotonicMs();
      // A coordinator that is gone takes its run with it.
      isOver = await client.get(run.runId).then(hasEnded, () => true);
    }
    return EXIT.stopped;
  } finally {
    interrupts.close();
  }
}

interface Found {
  readonly context: CommandContext;
  readonly run: RunView;
  readonly client: RunsClient | undefined;
  readonly reader: RunLogs;
  readonly printed: number;
}

/** One sentence about the workers of the run whose log is not here; undefined where none is missing. */
async function elsewhere({ context, run, client, reader, printed }: Found): Promise<string | undefined> {
  const { workers = [] } = (await client?.cluster().catch(() => undefined)) ?? {};
  const known = reader.workerIds;
  const missing = workers.filter(({ workerId, runId }) => runId === run.runId && !known.has(workerId));
  const folder = shortPath(new Home(context.home).logsDirectory);
  if (missing.length > 0) {
    const names = missing.slice(0, MOST_NAMED).map(({ workerId, hostName }) => `${workerId} on ${hostName}`);
    const list = `${names.join(', ')}${missing.length > names.length ? ', …' : ''}`;
    return `${plural(missing.length, 'worker')} of ${run.runId} keep${missing.length === 1 ? 's' : ''} no log in ${folder}, but print${missing.length === 1 ? 's' : ''} it where it was started: ${list}.`;
  }
  if (printed > 0) return undefined;
  return `No process of ${folder} wrote about ${run.runId}: workers that \`weft launch --local\` did not start print their logs where they were started.`;
}

const MOST_NAMED = 5;
