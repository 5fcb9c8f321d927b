import { assertNever, decimal, duration, plural } from '@weft/common';
import { describeChange } from './mixture-change.js';
import type { Committed, RunRecord } from './records.js';
import { describeStraggler } from './stragglers.js';

/** One thing that happened to a run. */
export interface TimelineEntry {
  /** ISO 8601. */
  readonly time: string;
  readonly text: string;
  /** How it reads: `quiet` is the course of things, `warning` cost something, `bad` ended the run. */
  readonly tone: 'plain' | 'quiet' | 'strong' | 'good' | 'warning' | 'bad';
}

/** The timeline of a run, record by record; steps committed in a row are one entry. */
export class Timeline {
  readonly #entries: TimelineEntry[] = [];
  #first: Committed | undefined;
  #last: Committed | undefined;
  #skipped = 0;
  #empty = 0;

  /** The timeline of a whole log. */
  static of(records: Iterable<RunRecord>): readonly TimelineEntry[] {
    const timeline = new Timeline();
    for (const record of records) timeline.add(record);
    return timeline.entries;
  }

  /** In order, with the steps that were committed last. */
  get entries(): readonly TimelineEntry[] {
    const steps = this.#steps();
    return steps === undefined ? this.#entries : [...this.#entries, steps];
  }

  add(record: RunRecord): void {
    if (record.kind === 'committed') {
      this.#first ??= record;
      this.#last = record;
      if (record.lossTokens === 0) this.#empty++;
      else if (!record.entry.applied) this.#skipped++;
      return;
    }
    const steps = this.#steps();
    if (steps !== undefined) this.#entries.push(steps);
    this.#first = undefined;
    this.#last = undefined;
    this.#skipped = 0;
    this.#empty = 0;
    this.#entries.push(describeRecord(record));
  }

  #steps(): TimelineEntry | undefined {
    if (this.#first === undefined || this.#last === undefined) return undefined;
    return {
      time: this.#last.time,
      text: describeSteps(this.#first, this.#last, this.#skipped, this.#empty),
      tone: 'quiet',
    };
  }
}

function describeSteps(first: Committed, last: Committed, skipped: number, empty: number): string {
  const elapsed = (Date.parse(last.time) - Date.parse(first.time)) / 1000;
  const isOne = first === last;
  const range = isOne ? `step ${first.entry.step}` : `steps ${first.entry.step} to ${last.entry.step}`;
  const loss = isOne ? decimal(last.entry.loss) : `${decimal(first.entry.loss)} to ${decimal(last.entry.loss)}`;
  const notApplied = skipped === 0 ? '' : `; ${plural(skipped, 'step')} not applied, gradients not finite`;
  const withoutTargets = empty === 0 ? '' : `; ${plural(empty, 'step')} without targets, not applied`;
  const took = isOne ? '' : ` in ${duration(elapsed)}`;
  return `trained ${range}${took}, loss ${loss}${notApplied}${withoutTargets}`;
}

function describeRecord(record: Exclude<RunRecord, Committed>): TimelineEntry {
  const { time } = record;
  switch (record.kind) {
    case 'launched': {
      const { priority } = record.config.queue ?? { priority: 0 };
      const sweep = record.parent === undefined ? '' : ` in sweep ${record.parent}`;
      const at = priority === 0 ? '' : ` at priority ${priority}`;
      const asked = `${plural(record.config.steps, 'step')} on ${plural(record.config.workers, 'worker')}`;
      return { time, text: `launched${sweep}${at}: ${asked}`, tone: 'strong' };
    }
    case 'assigned': {
      const hosts = [...new Set(record.workers.map(({ hostName }) => hostName))].join(', ');
      const from = { fresh: 'afresh', checkpoint: 'from its checkpoint', keep: 'from memory' }[record.state];
      const on = `${plural(record.workers.length, 'worker')} (${hosts})`;
      const text = `generation ${record.generation} began at step ${record.firstStep} on ${on}, ${from}`;
      return { time, text, tone: 'plain' };
    }
    case 'checkpointWritten': {
      const { step, stallSeconds } = record;
      const stall = stallSeconds === undefined ? '' : `, training stood still for ${stallSeconds.toFixed(2)} s`;
      return { time, text: `checkpoint of step ${step} saved${stall}`, tone: 'plain' };
    }
    case 'workerLost': {
      const text = `rank ${record.rank} (${record.workerId} on ${record.hostName}) was lost: ${record.reason}`;
      return { time, text, tone: 'warning' };
    }
    case 'ringBroke': {
      const text = `the ring broke at rank ${record.rank} in step ${record.step}: ${record.reason}`;
      return { time, text, tone: 'warning' };
    }
    case 'hung': {
      const { role, rank, workerId, hostName, step, reason } = record;
      const member = role === undefined ? `rank ${rank}` : `expert worker ${rank}`;
      return {
        time,
        text: `${member} (${workerId} on ${hostName}) hung in step ${step}: it ${reason}`,
        tone: 'warning',
      };
    }
    case 'straggler':
      return { time, text: describeStraggler(record), tone: 'warning' };
    case 'requeued':
      return { time, text: `queued: ${record.reason}`, tone: 'warning' };
    case 'continued': {
      const text = `its workers are back: generation ${record.generation} goes on after step ${record.step}`;
      return { time, text, tone: 'good' };
    }
    case 'attemptFailed': {
      const text = `attempt ${record.attempt} of ${record.maxAttempts} failed: ${record.failure.message}`;
      return { time, text, tone: 'warning' };
    }
    case 'resumed':
      return { time, text: record.reason, tone: 'plain' };
    case 'rolledBack':
      return { time, text: record.reason, tone: 'warning' };
    case 'mixtureChanged': {
      const { fromStep, change, reason } = record;
      const why = reason === '' ? '' : ` (${reason})`;
      return {
        time,
        text: `the mixture changes from step ${fromStep} on: ${describeChange(change)}${why}`,
        tone: 'plain',
      };
    }
    case 'stopRequested':
      return { time, text: 'asked to stop', tone: 'plain' };
    case 'stopped':
      return { time, text: `stopped at step ${record.step}: ${record.reason}`, tone: 'plain' };
    case 'finished':
      return { time, text: `finished: all ${plural(record.step, 'step')} are trained`, tone: 'good' };
    case 'failed':
      return { time, text: `failed: ${record.failure.message}`, tone: 'bad' };
    default:
      return assertNever(record);
  }
}
