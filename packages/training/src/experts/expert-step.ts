import type { NormRequest, RowsRequest } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { Executor, HostTensor } from '@weft/engine';
import { release } from '../reduce-gradients.js';
import type { Turn } from './accumulation-order.js';
import type { ExpertProgram } from './expert-program.js';

type Tensors = Record<string, HostTensor>;

/** What the forward pass of a call leaves for its way back. */
interface Passed {
  readonly rows: RowsRequest;
  /** `gate` and `up`. */
  readonly inner: Tensors;
}

/** What a call adds to the gradients of the weights once its turn has come. */
interface Contribution {
  readonly rows: RowsRequest;
  readonly outputGradients: RowsRequest;
  /** `hidden`, `gateGradients` and `upGradients`. */
  readonly inner: Tensors;
}

export interface ExpertStepParts {
  readonly executor: Executor;
  readonly program: ExpertProgram;
  readonly step: number;
  /** The order of additions, the same for every layer. */
  readonly order: readonly Turn[];
  /** The number of ranks. */
  readonly worldSize: number;
}

/**
 * One step of an expert worker: every method does one piece of work, to be called one after another. Answers leave as
 * soon as they are computed; the gradients of the weights are added up in a fixed order, each when its turn has come.
 */
export class ExpertStep {
  readonly step: number;
  readonly #parts: ExpertStepParts;
  readonly #passed = new Map<string, Passed>();
  readonly #contributions = new Map<string, Contribution>();
  /** By layer: how many contributions are added up. */
  readonly #added: Map<number, number>;
  #squaredNorm: number | undefined;
  #normsAnswered = 0;

  constructor(parts: ExpertStepParts) {
    this.#parts = parts;
    this.step = parts.step;
    this.#added = new Map(parts.program.layers.map((layer) => [layer, 0]));
  }

  /** Whether every layer has the contributions of every microbatch of every rank. */
  get isComplete(): boolean {
    return [...this.#added.values()].every((added) => added === this.#parts.order.length);
  }

  /** Whether every rank has heard the norm: nothing is left to do before the decision. */
  get isAnswered(): boolean {
    return this.#normsAnswered === this.#parts.worldSize;
  }

  /** Contributions that wait to be added, whether it is their turn or not. */
  get backlog(): number {
    return this.#contributions.size;
  }

  /** A layer whose next contribution is there. */
  get dueLayer(): number | undefined {
    return this.#parts.program.layers.find((layer) => this.#contributions.has(this.#nextKey(layer)));
  }

  /** Whose microbatch the slowest layer has to add next; undefined when it has all. */
  get awaited(): Turn | undefined {
    return this.#parts.order[Math.min(...this.#added.values())];
  }

  /** How many microbatches, counted by the slowest rank and layer, are added up whole. */
  get wholeMicrobatches(): number {
    return this.awaited?.microbatch ?? Number.POSITIVE_INFINITY;
  }

  /** Computes a call and answers it; resolves when the answer is on its way. @throws `corrupt_data` for a call out of order. */
  async serve(request: RowsRequest): Promise<void> {
    if (request.direction === 'forward') await this.#forward(request);
    else await this.#backward(request);
  }

  /** Adds the next contribution of a layer. */
  async accumulate(layer: number): Promise<void> {
    const key = this.#nextKey(layer);
    const contribution = this.#contributions.get(key);
    if (contribution === undefined) return;
    const { rows, outputGradients, inner } = contribution;
    this.#contributions.delete(key);
    const inputs = { rows: rows.rows_ECD, outputGradients: outputGradients.rows_ECD, ...inner };
    await this.#parts.executor.run(`accumulate/${layer}`, inputs);
    this.#added.set(layer, (this.#added.get(layer) ?? 0) + 1);
    release(inner);
    rows.release();
    outputGradients.release();
  }

  /** The squared norm of what is added up; to be asked when the step is complete. */
  async answerNorm(request: NormRequest): Promise<void> {
    if (this.#squaredNorm === undefined) {
      const measured = await this.#parts.executor.run('squaredNorm', {});
      this.#squaredNorm = measured.squaredNorm?.data[0] ?? Number.NaN;
      release(measured);
    }
    request.answer(this.#squaredNorm);
    this.#normsAnswered++;
  }

  /** Frees what calls that will not be finished have left. */
  dispose(): void {
    for (const { inner } of [...this.#passed.values(), ...this.#contributions.values()]) release(inner);
    this.#passed.clear();
    this.#contributions.clear();
  }

  async #forward(rows: RowsRequest): Promise<void> {
    const key = keyOf(rows.layer, rows);
    this.#check(rows, this.#added.has(rows.layer) && !this.#passed.has(key) && !this.#contributions.has(key));
    const results = await this.#parts.executor.run(`forward/${rows.layer}`, { rows: rows.rows_ECD });
    const { outputs, ...inner } = results;
    this.#passed.set(key, { rows, inner });
    send(rows, outputs as HostTensor);
  }

  async #backward(outputGradients: RowsRequest): Promise<void> {
    const { layer } = outputGradients;
    const key = keyOf(layer, outputGradients);
    const passed = this.#passed.get(key);
    this.#check(outputGradients, passed !== undefined);
    const { rows, inner } = passed as Passed;
    const inputs = { outputGradients: outputGradients.rows_ECD, ...inner };
    const results = await this.#parts.executor.run(`backward/${layer}`, inputs);
    this.#passed.delete(key);
    release(inner);
    const { rowGradients, ...left } = results;
    this.#contributions.set(key, { rows, outputGradients, inner: left });
    send(outputGradients, rowGradients as HostTensor);
  }

  #check({ direction, layer, microbatch, rank }: RowsRequest, isExpected: boolean): void {
    const isKnown = this.#parts.order.some((turn) => turn.microbatch === microbatch && turn.rank === rank);
    if (isExpected && isKnown) return;
    const call = `the ${direction} call of microbatch ${microbatch}, layer ${layer}, rank ${rank}`;
    throw new WeftError('corrupt_data', `${call} is not expected in step ${this.step}`);
  }

  #nextKey(layer: number): string {
    const turn = this.#parts.order[this.#added.get(layer) ?? 0];
    return turn === undefined ? '' : keyOf(layer, turn);
  }
}

/** The answer leaves while other work goes on; its memory is freed when it has left. */
export function send(request: RowsRequest, tensor: HostTensor): void {
  void request.answer(tensor.data as Float32Array).finally(() => tensor.dispose());
}

function keyOf(layer: number, { microbatch, rank }: Turn): string {
  return `${layer}/${microbatch}/${rank}`;
}
