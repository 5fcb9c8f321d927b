import { bytes, type Clock, count, duration, percent, systemClock } from '@weft/common';
import type { DataProgress } from '@weft/data';
import type { CommandContext } from '../context.js';
import { clip, paint, span } from '../styled-lines.js';
import { print } from '../terminal.js';

const REDRAW_MS = 100;
const LOG_LINE_MS = 5000;
/** In a log, shorter tasks are not reported; only a download is reported at once, because it may hang. */
const SHORT_TASK_MS = 2000;

/** Shows the progress of a long data task: one line redrawn in a terminal, now and then a line in a log, nothing with `--json`. */
export class DataProgressDisplay {
  readonly #context: CommandContext;
  readonly #clock: Clock;
  readonly #beganMs: number;
  #shown: { readonly phase: string; readonly atMs: number } | undefined;
  /** Where the phase began, of work that is measured in bytes. */
  #measured: { readonly phase: string; readonly atMs: number; readonly bytes: number } | undefined;

  constructor(context: CommandContext, clock: Clock = systemClock) {
    this.#context = context;
    this.#clock = clock;
    this.#beganMs = clock.monotonicMs();
  }

  /** The `onProgress` of functions of `@weft/data`. */
  readonly onProgress = (progress: DataProgress): void =>
    this.show(
      progress.phase,
      `${describeProgress(progress)}${this.#describePace(progress)}`,
      progress.phase === 'download',
    );

  /**
   * Shows how far any other long task is.
   *
   * @param phase a new one is shown at once
   * @param isReported whether it is reported in a log however short it is; default: no
   */
  show(phase: string, text: string, isReported = false): void {
    const { terminal, json } = this.#context;
    if (json) return;
    const nowMs = this.#clock.monotonicMs();
    const isShort = nowMs - this.#beganMs < SHORT_TASK_MS && !isReported;
    if (isShort && !terminal.stdout.isTTY) return;
    const isNew = this.#shown?.phase !== phase;
    const silenceMs = terminal.stdout.isTTY ? REDRAW_MS : LOG_LINE_MS;
    if (!isNew && nowMs - (this.#shown?.atMs ?? 0) < silenceMs) return;
    this.#shown = { phase, atMs: nowMs };
    if (!terminal.stdout.isTTY) print(terminal, text);
    else terminal.stdout.write(`\r\x1b[K${paint(clip([span(text)], terminal.stdout.columns - 1), terminal.colors)}`);
  }

  /** How fast it goes and how long it will take, once that can be told. */
  #describePace({ phase, bytes: amount }: DataProgress): string {
    if (amount === undefined) return '';
    const nowMs = this.#clock.monotonicMs();
    if (this.#measured?.phase !== phase) this.#measured = { phase, atMs: nowMs, bytes: amount.done };
    const seconds = (nowMs - this.#measured.atMs) / 1000;
    if (seconds * 1000 < SHORT_TASK_MS) return '';
    const perSecond = (amount.done - this.#measured.bytes) / seconds;
    if (perSecond <= 0) return '';
    return `, ${bytes(perSecond)}/s, ${duration((amount.total - amount.done) / perSecond)} left`;
  }

  /** Removes the redrawn line. */
  close(): void {
    const { terminal } = this.#context;
    if (terminal.stdout.isTTY && this.#shown !== undefined) terminal.stdout.write('\r\x1b[K');
    this.#shown = undefined;
  }
}

const VERBS: Readonly<Record<DataProgress['phase'], string>> = {
  download: 'Downloading',
  build: 'Building shards',
  index: 'Indexing',
  verify: 'Comparing',
};

function describeProgress({ phase, what, done, total, unit }: DataProgress): string {
  const amount = unit === 'bytes' ? `${bytes(done)} of ${bytes(total)}` : `${count(done)} of ${count(total)} ${unit}`;
  return `${VERBS[phase]} ${what}: ${amount}${total > 0 ? ` (${percent(done / total)})` : ''}`;
}
