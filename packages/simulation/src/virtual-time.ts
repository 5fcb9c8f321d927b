/**
 * A clock that moves from one planned action to the next. Actions of the same millisecond happen in the order they were planned.
 */
export class VirtualTime {
  nowMs = 0;
  /** How many actions happened. */
  count = 0;
  readonly #actions = new Map<number, (() => void)[]>();
  /** The times with actions, as a binary heap: the soonest is first. */
  readonly #times: number[] = [];

  /** Plans an action, at the earliest now. Times are whole milliseconds. */
  at(timeMs: number, action: () => void): void {
    const wholeMs = Math.max(this.nowMs, Math.ceil(timeMs));
    const planned = this.#actions.get(wholeMs);
    if (planned !== undefined) {
      planned.push(action);
      return;
    }
    this.#actions.set(wholeMs, [action]);
    this.#push(wholeMs);
  }

  after(delayMs: number, action: () => void): void {
    this.at(this.nowMs + delayMs, action);
  }

  /** Lets everything happen that is planned until `endMs`, and all that it leads to until then. */
  runUntil(endMs: number): void {
    for (let next = this.#times[0]; next !== undefined && next <= endMs; next = this.#times[0]) {
      this.nowMs = next;
      const planned = this.#actions.get(next)!;
      // Actions may plan others for the same millisecond.
      for (let i = 0; i < planned.length; i++) planned[i]!();
      this.count += planned.length;
      this.#actions.delete(next);
      this.#pop();
    }
    this.nowMs = endMs;
  }

  #push(timeMs: number): void {
    const times = this.#times;
    let at = times.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (times[parent]! <= timeMs) break;
      times[at] = times[parent]!;
      at = parent;
    }
    times[at] = timeMs;
  }

  /** Removes the first time. While its actions happen no sooner one can be planned, so it is still the first. */
  #pop(): void {
    const times = this.#times;
    const last = times.pop()!;
    if (times.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= times.length) break;
      if (child + 1 < times.length && times[child + 1]! < times[child]!) child++;
      if (times[child]! >= last) break;
      times[at] = times[child]!;
      at = child;
    }
    times[at] = last;
  }
}
