import type { NormRequest, RowsRequest } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { HostTensor, ResidentTensor } from '@weft/tensor';
import { disposeAll, floatsOf, outputOf, scalarOf } from '../host-tensors.js';
import type { MicrobatchId } from './exchange-plan.js';
import type { ExpertCopies } from './expert-copies.js';
import { type ExpertExecutor, type ExpertPhase, type ExpertProgram, expertPhase } from './expert-program.js';

/** Outputs of a phase, by name: on the host, or where rows come from devices, in the memory of this one. */
type Outputs = Readonly<Record<string, HostTensor | ResidentTensor>>;

/** What the forward pass of a microbatch through a layer leaves for its backward pass. */
interface SavedActivations {
  readonly rows: RowsRequest;
  /** `gate` and `up`. */
  readonly inner: Outputs;
}

/** What a microbatch adds to the gradients of a layer's weights, when it is next in the order. */
interface Contribution {
  readonly rows: RowsRequest;
  readonly outputGradients: RowsRequest;
  /** `hidden`, `gateGradients` and `upGradients`. */
  readonly inner: Outputs;
}

/** What an expert worker needs to take a step. */
export interface ExpertStepParts {
  readonly executor: ExpertExecutor;
  readonly program: ExpertProgram;
  readonly step: number;
  /** The order of additions, the same for every layer, see `accumulationOrder`. */
  readonly order: readonly MicrobatchId[];
  /** The number of ranks. */
  readonly worldSize: number;
}

/**
 * One step of an expert worker. Its methods use the engine and are called one at a time. Answers leave as soon as they
 * are computed; the gradients of the weights are added up later, in a fixed order.
 */
export class ExpertStep {
  readonly step: number;
  readonly #parts: ExpertStepParts;
  readonly #activations = new Map<string, SavedActivations>();
  readonly #contributions = new Map<string, Contribution>();
  /** By layer: how many contributions are added up. */
  readonly #added: Map<number, number>;
  #isShipped = false;
  #squaredNorm: number | undefined;
  #normsAnswered = 0;

  constructor(parts: ExpertStepParts) {
    this.#parts = parts;
    this.step = parts.step;
    this.#added = new Map(parts.program.layers.map((layer) => [layer, 0]));
  }

  /** Whether every layer has added up the contributions of all microbatches of all ranks. */
  get isComplete(): boolean {
    return [...this.#added.values()].every((added) => added === this.#parts.order.length);
  }

  /** Whether every rank has been sent the norm: nothing is left to do before the decision. */
  get isAnswered(): boolean {
    return this.#normsAnswered === this.#parts.worldSize;
  }

  /** Whether the gradients are at the worker that keeps the copy. */
  get isShipped(): boolean {
    return this.#isShipped;
  }

  /** Contributions that wait to be added. */
  get backlog(): number {
    return this.#contributions.size;
  }

  /** A layer that can add its next contribution now. */
  get dueLayer(): number | undefined {
    return this.#parts.program.layers.find((layer) => this.#contributions.has(this.#nextKey(layer)));
  }

  /** The microbatch that the slowest layer adds next; undefined when every layer is complete. */
  get awaited(): MicrobatchId | undefined {
    return this.#parts.order[Math.min(...this.#added.values())];
  }

  /** How many microbatches of every rank are added up in every layer. */
  get completedMicrobatches(): number {
    return this.awaited?.microbatch ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Computes a layer on a microbatch, forwards or back, and answers; resolves when the answer is on its way.
   * @throws `corrupt_data` for a request out of order.
   */
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
    const inputs = { rows: valuesOf(rows), outputGradients: valuesOf(outputGradients), ...inner };
    await this.#parts.executor.run(expertPhase('accumulate', layer), inputs);
    this.#added.set(layer, (this.#added.get(layer) ?? 0) + 1);
    disposeAll(inner);
    rows.release();
    outputGradients.release();
  }

  /** Sends the gradients to the worker that keeps the copy; to be called when the step is complete. */
  async ship(copies: Pick<ExpertCopies, 'ship'>): Promise<void> {
    await copies.ship(this.step);
    this.#isShipped = true;
  }

  /** Answers with the squared norm of the gradients of this worker; to be called when the step is complete. */
  async answerNorm(request: NormRequest): Promise<void> {
    if (this.#squaredNorm === undefined) {
      const measured = await this.#parts.executor.run('squaredNorm', {});
      this.#squaredNorm = scalarOf(measured, 'squaredNorm');
      disposeAll(measured);
    }
    request.answer(this.#squaredNorm);
    this.#normsAnswered++;
  }

  /** Frees the tensors of requests that will not be completed. */
  dispose(): void {
    for (const { inner } of [...this.#activations.values(), ...this.#contributions.values()]) disposeAll(inner);
    this.#activations.clear();
    this.#contributions.clear();
  }

  async #forward(rows: RowsRequest): Promise<void> {
    const key = keyOf(rows.layer, rows);
    const { microbatch, rank } = rows;
    const isPlanned = this.#parts.order.some((each) => each.microbatch === microbatch && each.rank === rank);
    const isRepeated = this.#activations.has(key) || this.#contributions.has(key);
    if (!isPlanned || !this.#added.has(rows.layer) || isRepeated) throw this.#unexpected(rows);
    const { executor } = this.#parts;
    const inner = await answerWith(executor, rows, expertPhase('forward', rows.layer), 'rows', 'outputs');
    this.#activations.set(key, { rows, inner });
  }

  async #backward(outputGradients: RowsRequest): Promise<void> {
    const { layer } = outputGradients;
    const key = keyOf(layer, outputGradients);
    const saved = this.#activations.get(key);
    if (saved === undefined) throw this.#unexpected(outputGradients);
    const { rows, inner } = saved;
    const { executor } = this.#parts;
    const phase = expertPhase('backward', layer);
    const contribution = await answerWith(executor, outputGradients, phase, 'outputGradients', 'rowGradients', inner);
    this.#activations.delete(key);
    disposeAll(inner);
    this.#contributions.set(key, { rows, outputGradients, inner: contribution });
  }

  #unexpected({ direction, layer, microbatch, rank }: RowsRequest): WeftError {
    const request = `the ${direction} call of microbatch ${microbatch}, layer ${layer}, rank ${rank}`;
    return new WeftError('corrupt_data', `${request} is not expected in step ${this.step}`);
  }

  #nextKey(layer: number): string {
    const next = this.#parts.order[this.#added.get(layer) ?? 0];
    return next === undefined ? '' : keyOf(layer, next);
  }
}

/**
 * Runs a phase on the rows of a request, where they are, and sends an output as the answer. Its memory is freed when it has left,
 * while other work goes on.
 * @param input the name of the rows among the inputs
 * @returns the other outputs
 */
export async function answerWith(
  executor: ExpertExecutor,
  request: RowsRequest,
  phase: ExpertPhase,
  input: string,
  output: string,
  others: Outputs = {},
): Promise<Outputs> {
  const inputs = { ...others, [input]: valuesOf(request) };
  if (request.kind === 'rows') {
    const outputs = await executor.run(phase, inputs);
    const { [output]: _, ...rest } = outputs;
    const answer = outputOf(outputs, output);
    void request.answer(floatsOf(outputs, output)).finally(() => answer.dispose());
    return rest;
  }
  const { [output]: answer, ...rest } = await executor.runResident(phase, inputs);
  if (answer === undefined) throw new WeftError('internal', `phase ${phase} gave no output ${output}`);
  void request.answer(answer).finally(() => answer.dispose());
  return rest;
}

function valuesOf(request: RowsRequest): Float32Array | ResidentTensor {
  return request.kind === 'rows' ? request.rows_ECD : request.rows;
}

function keyOf(layer: number, { microbatch, rank }: MicrobatchId): string {
  return `${layer}/${microbatch}/${rank}`;
}
