import { assertNever, decimal, duration, plural } from '@weft/common';
import type { RunRecord } from '@weft/coordination';
import type { Style } from '../spans.js';

/** One thing that happened to a run. */
export interface Chapter {
  /** ISO 8601. */
  readonly time: string;
  readonly text: string;
  readonly style?: Style;
}

type Committed = Extract<RunRecord, { kind: 'committed' }>;

/** What a log tells, in the words of people; steps committed in a row are one chapter. */
export function storyOf(records: readonly RunRecord[]): Chapter[] {
  const chapters: Chapter[] = [];
  let steps: Committed[] = [];
  const flush = () => {
    if (steps.length > 0) chapters.push(stepsChapter(steps));
    steps = [];
  };
  for (const record of records) {
    if (record.kind === 'committed') {
      steps.push(record);
      continue;
    }
    flush();
    chapters.push(chapterOf(record));
  }
  flush();
  return chapters;
}

function stepsChapter(steps: readonly Committed[]): Chapter {
  const first = steps[0]!;
  const last = steps.at(-1)!;
  const elapsed = (Date.parse(last.time) - Date.parse(first.time)) / 1000;
  const range = first === last ? `step ${first.entry.step}` : `steps ${first.entry.step} to ${last.entry.step}`;
  const loss =
    first === last ? decimal(last.entry.loss) : `${decimal(first.entry.loss)} to ${decimal(last.entry.loss)}`;
  const skipped = steps.filter(({ entry }) => !entry.applied).length;
  const notApplied = skipped === 0 ? '' : `; ${plural(skipped, 'step')} not applied, gradients not finite`;
  const took = first === last ? '' : ` in ${duration(elapsed)}`;
  return { time: last.time, text: `trained ${range}${took}, loss ${loss}${notApplied}`, style: 'dim' };
}

function chapterOf(record: Exclude<RunRecord, Committed>): Chapter {
  const { time } = record;
  switch (record.kind) {
    case 'launched': {
      const { priority } = record.config.queue ?? { priority: 0 };
      const sweep = record.parent === undefined ? '' : ` in sweep ${record.parent}`;
      const at = priority === 0 ? '' : ` at priority ${priority}`;
      const asked = `${plural(record.config.steps, 'step')} on ${plural(record.config.workers, 'worker')}`;
      return { time, text: `launched${sweep}${at}: ${asked}`, style: 'bold' };
    }
    case 'assigned': {
      const hosts = [...new Set(record.workers.map(({ hostName }) => hostName))].join(', ');
      const from = { fresh: 'afresh', checkpoint: 'from its checkpoint', keep: 'from memory' }[record.state];
      const on = `${plural(record.workers.length, 'worker')} (${hosts})`;
      return { time, text: `generation ${record.generation} began at step ${record.firstStep} on ${on}, ${from}` };
    }
    case 'checkpointWritten':
      return { time, text: `checkpoint of step ${record.step} saved` };
    case 'workerLost':
      return {
        time,
        text: `rank ${record.rank} (${record.workerId} on ${record.hostName}) was lost: ${record.reason}`,
        style: 'yellow',
      };
    case 'ringBroke':
      return {
        time,
        text: `the ring broke at rank ${record.rank} in step ${record.step}: ${record.reason}`,
        style: 'yellow',
      };
    case 'requeued':
      return { time, text: `queued: ${record.reason}`, style: 'yellow' };
    case 'attemptFailed':
      return {
        time,
        text: `attempt ${record.attempt} of ${record.maxAttempts} failed: ${record.failure.message}`,
        style: 'yellow',
      };
    case 'resumed':
      return { time, text: record.reason };
    case 'stopRequested':
      return { time, text: 'asked to stop' };
    case 'stopped':
      return { time, text: `stopped at step ${record.step}: ${record.reason}` };
    case 'finished':
      return { time, text: `finished: all ${plural(record.step, 'step')} are trained`, style: 'green' };
    case 'failed':
      return { time, text: `failed: ${record.failure.message}`, style: 'red' };
    default:
      return assertNever(record);
  }
}
