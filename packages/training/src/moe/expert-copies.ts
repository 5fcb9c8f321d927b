import type { WorkerLink } from '@weft/collectives';
import { type Deferred, deferred, WeftError } from '@weft/common';
import { cut, type Executor, elementCount, elementsOf } from '@weft/tensor';
import { copiedBoxes } from '../checkpoint-saver.js';
import { scalarInput } from '../host-tensors.js';
import type { ExpertDecision } from '../ports.js';
import { type ExpertProgram, gradientOf } from './expert-program.js';

/** An engine with experts, and the link to the worker that holds the other one of the two copies. */
export interface LinkedExperts {
  readonly executor: Pick<Executor, 'run' | 'copyState' | 'fillState'>;
  readonly program: Pick<ExpertProgram, 'parameters'>;
  readonly link: WorkerLink;
}

/** What an expert worker does for copies, in one generation. */
export interface ExpertCopiesOptions {
  /** Its own experts, whose copy is kept at the other end of the link; undefined: nobody keeps one. */
  readonly own: LinkedExperts | undefined;
  /** The copy that it keeps of the experts at the other end; undefined: none. */
  readonly copy: LinkedExperts | undefined;
  readonly firstStep: number;
}

/** The step that a message is about, a little-endian number. */
const STEP_BYTES = 4;

/**
 * Keeps the copies of experts at the step of the experts themselves. The owner sends the gradients of each step before it answers
 * the ranks, and they vote only then: so once a step is decided both workers have its gradients, and apply them alike. A worker that
 * is lost at any moment leaves its experts at the last committed step.
 */
export class ExpertCopies {
  readonly #options: ExpertCopiesOptions;
  /** Rejects when the copy cannot be kept any more; never resolves. */
  readonly failed: Promise<never>;
  #arrived: Deferred<number> = deferred();
  #applied: Deferred<void> = deferred();

  constructor(options: ExpertCopiesOptions) {
    this.#options = options;
    const { promise, reject } = deferred<never>();
    this.failed = promise;
    promise.catch(() => {});
    this.#arrived.promise.catch(() => {});
    const { copy } = options;
    if (copy !== undefined)
      this.#follow(copy).catch((thrown: unknown) => {
        const error = WeftError.from(thrown);
        this.#arrived.reject(error);
        // Whoever is gone breaks the connections of the ranks too, or has nothing left to do.
        if (error.code !== 'unavailable' && error.code !== 'cancelled') reject(error);
      });
  }

  /** Sends the gradients of a step; resolves once the worker with the copy has them. @throws WeftError `unavailable` */
  async ship(step: number): Promise<void> {
    const { own } = this.#options;
    if (own === undefined) return;
    const { executor, link, program } = own;
    const copies = await executor.copyState(program.parameters.map(({ name }) => gradientOf(name)));
    await copiedBoxes(copies, async (boxes) => {
      await link.write(stepBytes(step));
      for (const { name, shape } of program.parameters)
        for (const { buffer, byteOffset, byteLength } of elementsOf(shape, boxes[gradientOf(name)] ?? []))
          await link.write(new Uint8Array(buffer, byteOffset, byteLength));
      await readStep(link, step, 'has the gradients of');
    });
  }

  /** What the decision about a step does to the copy. Nothing may interrupt it. */
  async apply(step: number, { apply, gradNorm, lossTokens }: ExpertDecision): Promise<void> {
    const { copy } = this.#options;
    if (copy === undefined) return;
    // They came before the ranks had voted.
    await this.#arrived.promise;
    this.#arrived = deferred();
    this.#arrived.promise.catch(() => {});
    const inputs = { gradNorm: scalarInput(gradNorm), lossTokens: scalarInput(lossTokens), step: scalarInput(step) };
    if (apply) await copy.executor.run('apply', inputs);
    this.#applied.resolve();
  }

  /** Takes the gradients of step after step. */
  async #follow({ executor, link, program }: LinkedExperts): Promise<never> {
    const gradients = program.parameters.map(({ name, shape }) => {
      return { name: gradientOf(name), shape, values: new Float32Array(elementCount(shape)) };
    });
    for (let step = this.#options.firstStep; ; step++) {
      await readStep(link, step, 'sends the gradients of');
      for (const { values } of gradients) await link.read(new Uint8Array(values.buffer));
      for (const { name, shape, values } of gradients)
        await executor.fillState([name], async (_, box) => cut(values, shape, box));
      this.#applied = deferred();
      this.#arrived.resolve(step);
      await link.write(stepBytes(step));
      await this.#applied.promise;
    }
  }
}

function stepBytes(step: number): Uint8Array {
  const bytes = new Uint8Array(STEP_BYTES);
  new DataView(bytes.buffer).setUint32(0, step, true);
  return bytes;
}

async function readStep(link: WorkerLink, step: number, does: string): Promise<void> {
  const bytes = new Uint8Array(STEP_BYTES);
  await link.read(bytes);
  const found = new DataView(bytes.buffer).getUint32(0, true);
  if (found !== step)
    throw new WeftError('corrupt_data', `the other expert worker ${does} step ${found}, where step ${step} is next`);
}
