import type { RunRecord } from '@weft/coordination';
import type { VirtualTime } from './virtual-time.js';

/** What a run in the simulation asks for. */
export interface PlannedRun {
  readonly runId: string;
  readonly workers: number;
  readonly steps: number;
  /** How long a step takes. */
  readonly stepMs: number;
  readonly checkpointEverySteps: number;
  readonly priority: number;
}

/** What a run achieves, and what it costs: followed record by record. */
export class RunWatch {
  readonly run: PlannedRun;
  /** When it last committed a step, or its status changed. */
  progressMs: number;
  /** When something last happened to one of its members. */
  touchedMs = 0;
  /** Times of workers that went into steps, whatever became of them; and of workers that it had. */
  #trainedMs = 0;
  #heldMs = 0;
  #members = 0;
  /** Of the newest generation, ranks. */
  #generationSize = 0;
  #membersSinceMs = 0;
  #interruptedMs: number | undefined;
  /** From every interruption to the next commit. */
  readonly recoveriesMs: number[] = [];
  readonly #time: VirtualTime;

  constructor(run: PlannedRun, time: VirtualTime) {
    this.run = run;
    this.#time = time;
    this.progressMs = time.nowMs;
  }

  touched(): void {
    this.touchedMs = this.#time.nowMs;
  }

  /** Worker time that the run had until now. */
  heldMs(): number {
    return this.#heldMs + this.#members * (this.#time.nowMs - this.#membersSinceMs);
  }

  /** Of it, what went into steps, also such that were trained again later. */
  get trainedMs(): number {
    return this.#trainedMs;
  }

  add(record: RunRecord): void {
    const { nowMs } = this.#time;
    switch (record.kind) {
      case 'assigned':
        this.progressMs = nowMs;
        this.#generationSize = record.workers.length;
        this.#has(this.#generationSize);
        return;
      case 'continued':
        this.progressMs = nowMs;
        this.#has(this.#generationSize);
        return;
      case 'committed':
        this.progressMs = nowMs;
        this.#trainedMs += this.run.stepMs * record.worldSize;
        if (this.#interruptedMs !== undefined) this.recoveriesMs.push(nowMs - this.#interruptedMs);
        this.#interruptedMs = undefined;
        return;
      case 'workerLost':
      case 'ringBroke':
        this.#interruptedMs ??= nowMs;
        this.touched();
        return;
      case 'requeued':
      case 'attemptFailed':
      case 'rolledBack':
        this.#interruptedMs ??= nowMs;
        this.progressMs = nowMs;
        this.#has(0);
        return;
      case 'stopped':
      case 'finished':
      case 'failed':
        this.#interruptedMs = undefined;
        this.progressMs = nowMs;
        this.#has(0);
        return;
      default:
        this.progressMs = nowMs;
    }
  }

  #has(members: number): void {
    this.#heldMs = this.heldMs();
    this.#members = members;
    this.#membersSinceMs = this.#time.nowMs;
  }
}
