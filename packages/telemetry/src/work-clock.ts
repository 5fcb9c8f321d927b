import { addTime, noTime, type TimeBucket, type WorkTime } from '@weft/contracts';

/** What a process spends its time on: at any moment exactly one of the buckets, so that they sum to the time that passed. */
export class WorkClock {
  readonly #nowMs: () => number;
  readonly #spent = noTime();
  #bucket: TimeBucket;
  #sinceMs: number;

  /** @param nowMs of a clock that never goes back */
  constructor(bucket: TimeBucket = 'idle', nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#bucket = bucket;
    this.#sinceMs = nowMs();
  }

  /** What the time is spent on now. */
  get bucket(): TimeBucket {
    return this.#bucket;
  }

  /** The time that passed until now. */
  get spent(): WorkTime {
    this.#settle();
    return { ...this.#spent };
  }

  /** From now on the time is spent on this. */
  enter(bucket: TimeBucket): void {
    this.#settle();
    this.#bucket = bucket;
  }

  /** Moves seconds that turn out to have been spent on something else; at most what there is. */
  move(from: TimeBucket, to: TimeBucket, seconds: number): void {
    this.#settle();
    const moved = Math.max(0, Math.min(seconds, this.#spent[from]));
    if (!Number.isFinite(moved)) return;
    this.#spent[from] -= moved;
    this.#spent[to] += moved;
  }

  /** Moves what was spent since a moment, whatever on, except on compiling, which is of use later. */
  moveSince(moment: WorkTime, to: TimeBucket): void {
    const since = addTime(this.spent, moment, -1);
    for (const [from, seconds] of Object.entries(since) as [TimeBucket, number][])
      if (from !== 'compiling') this.move(from, to, seconds);
  }

  #settle(): void {
    const nowMs = this.#nowMs();
    this.#spent[this.#bucket] += (nowMs - this.#sinceMs) / 1000;
    this.#sinceMs = nowMs;
  }
}
