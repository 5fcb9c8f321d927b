import { noTime, type TimeBucket } from '@weft/contracts';
import { noSpans, type SpanNotes, type WorkTimer } from './ports.js';

/** Keeps nothing. */
const noTimer: WorkTimer = { spent: noTime(), enter: () => {}, move: () => {}, moveSince: () => {} };

/** A part of a step, as its report has it. */
type StepPart = 'data' | 'compute' | 'communication' | 'apply';

/** Gives the time of steps to their parts, and that of the process to the buckets of its work. One for all steps of a session. */
export class StepClock {
  /** Of the current step. */
  readonly seconds: Record<StepPart, number> = { data: 0, compute: 0, communication: 0, apply: 0 };
  readonly timer: WorkTimer;
  readonly spans: SpanNotes;
  /** What the update of the step before took. */
  appliedSeconds = 0;
  /** The phases that have run, and are compiled. */
  readonly #ran: Set<string>;
  readonly #compiles: boolean;
  #lapMs = performance.now();

  /** @param compiles whether the first run of a phase compiles it */
  constructor(
    timer: WorkTimer = noTimer,
    spans: SpanNotes = noSpans,
    { compiles = true, ran = new Set<string>() }: { readonly compiles?: boolean; readonly ran?: Set<string> } = {},
  ) {
    this.timer = timer;
    this.spans = spans;
    this.#compiles = compiles;
    this.#ran = ran;
  }

  /** For a step that does not count: what runs in it is compiled for those that do. */
  rehearsal(): StepClock {
    return new StepClock(noTimer, noSpans, { ran: this.#ran });
  }

  /** A step begins, with its data. */
  begin(): void {
    this.appliedSeconds = this.seconds.apply;
    Object.assign(this.seconds, { data: 0, compute: 0, communication: 0, apply: 0 });
    this.#lapMs = performance.now();
    this.timer.enter('waitingForData');
  }

  /**
   * What passed since the last lap, or since the step began, belongs to this part; what follows is spent on the bucket.
   *
   * @param name of what passed, in a profile
   */
  lap(part: StepPart, next: TimeBucket, name: string = part): void {
    const nowMs = performance.now();
    this.spans.add('step', name, this.#lapMs, {}, nowMs);
    this.seconds[part] += (nowMs - this.#lapMs) / 1000;
    this.#lapMs = nowMs;
    this.timer.enter(next);
  }

  /** What running these phases is: compiling where one of them never ran, because its first run compiles it. */
  running(phases: readonly string[]): 'computing' | 'compiling' {
    const isNew = phases.some((phase) => !this.#ran.has(phase));
    for (const phase of phases) this.#ran.add(phase);
    return isNew && this.#compiles ? 'compiling' : 'computing';
  }
}
