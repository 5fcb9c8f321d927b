/** Something that a process did: milliseconds since the Unix epoch by its own clock, and how long it took. */
export interface RecordedSpan {
  /** What belongs together, such as `ring`. */
  readonly track: string;
  readonly name: string;
  readonly beginMs: number;
  readonly durationMs: number;
  readonly details: Readonly<Record<string, string | number>>;
}

/** Which steps to record, and what happens with the spans. */
export interface Recording {
  readonly firstStep: number;
  readonly lastStep: number;
  /** Called once, with the spans in the order in which they ended; `leftOut` counts those beyond the limit. */
  readonly onDone: (spans: readonly RecordedSpan[], leftOut: number) => void;
}

/** Where a process is in its run. */
export interface StepProgress {
  /** The step it is in; 0 before the first. */
  readonly step: number;
  /** How many parts of it are done. */
  readonly parts: number;
  /** The last of them, or the part before that was done last. */
  readonly lastEvent: string;
  /** When that was, by `performance.now()`. */
  readonly lastEventMs: number;
}

/** A process in a tight loop must not fill the memory. */
const MOST_SPANS = 20_000;

/** Milliseconds since the Unix epoch, by a clock that never goes back while the process lives. */
export const processNowMs = (): number => performance.timeOrigin + performance.now();

/** Records what a process does in some steps of a run, when it is asked to; else every call returns at once. */
export class SpanRecorder {
  #recording: Recording | undefined;
  #isOn = false;
  #spans: RecordedSpan[] = [];
  #leftOut = 0;
  #progress: StepProgress = { step: 0, parts: 0, lastEvent: 'nothing', lastEventMs: performance.now() };

  /** Kept also while nothing is recorded. */
  get progress(): StepProgress {
    return this.#progress;
  }

  /** From the beginning of the first step to the end of the last one. A recording that goes on is ended. */
  record(recording: Recording): void {
    this.finish();
    this.#recording = recording;
  }

  /** A step begins. The last one is over when the next begins, with its checkpoint and its evaluation. */
  atStep(step: number): void {
    this.#progress = { ...this.#progress, step, parts: 0 };
    if (this.#recording === undefined) return;
    const { firstStep, lastStep } = this.#recording;
    if (step > lastStep) this.finish();
    else if (step >= firstStep) this.#isOn = true;
  }

  /** Something is over that began at `beganMs` and ended at `endedMs`, by `performance.now()`. */
  add(track: string, name: string, beganMs: number, details: RecordedSpan['details'] = {}, endedMs?: number): void {
    if (track === 'step') this.#did(name);
    if (!this.#isOn) return;
    if (this.#spans.length >= MOST_SPANS) {
      this.#leftOut++;
      return;
    }
    const beginMs = performance.timeOrigin + beganMs;
    this.#spans.push({ track, name, beginMs, durationMs: (endedMs ?? performance.now()) - beganMs, details });
  }

  #did(name: string): void {
    const { step, parts } = this.#progress;
    this.#progress = { step, parts: parts + 1, lastEvent: name, lastEventMs: performance.now() };
  }

  /** Ends the recording, if there is one: the run goes on without this process, or in another generation. */
  finish(): void {
    const [recording, spans, leftOut] = [this.#recording, this.#spans, this.#leftOut];
    this.#recording = undefined;
    this.#isOn = false;
    this.#spans = [];
    this.#leftOut = 0;
    recording?.onDone(spans, leftOut);
  }
}
