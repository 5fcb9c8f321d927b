import {
  formsOf,
  itemAt,
  type Product,
  type ProductForm,
  productFlops,
  productName,
  recordProducts,
  required,
  withProductForms,
} from '@weft/tensor';
import { compilePhase } from '../graph/compile-phase.js';
import { GraphWriter } from '../graph/graph-writer.js';
import { LoopFunctions } from '../graph/loop-functions.js';
import type { CApi, Pointer } from '../native/c-api.js';
import { Graph, NativeTensor } from '../native/handles.js';
import type { Feed } from '../native/partial-run.js';
import { Session } from '../native/session.js';
import { threadWaitMs } from './thread-waits.js';

/** Another form is taken where it is so much faster than the usual one, in every round. */
const MARGIN = 0.03;
const ROUNDS = 6;
/** Rounds, with those that are repeated. */
const MOST_TRIES = 2 * ROUNDS;
/** A run in which the threads waited longer for a core, as a part of its time, was disturbed by others. */
const WAITING = 0.05;
/** A run computes so many products that it takes about as long: the call itself takes a tenth of a millisecond. */
const RUN_MS = 2;
const MOST_PRODUCTS = 8;
/** Of one thread, before anything was timed. */
const ASSUMED_FLOPS_PER_MS = 5e7;

/** The form of a product, and by how much it was faster than the usual one: 1 for that one itself. */
export interface ChosenForm {
  readonly form: ProductForm;
  readonly speedup: number;
}

/**
 * The fastest form of a product. The usual one and the others take turns, and whoever was not clearly faster once is out: noise
 * rarely favours the same form six times, and most products are done after the first round. A round in which others took the cores
 * is repeated, for they slow down a form the more, the more its threads wait for each other.
 *
 * @param forms the usual one first
 * @param time its milliseconds; undefined where it had to wait for a core
 * @param isLate whether the time is up: then the usual form stays
 */
export async function race(
  forms: readonly ProductForm[],
  time: (form: ProductForm) => Promise<number | undefined>,
  isLate: () => boolean = () => false,
): Promise<ChosenForm> {
  const usual = itemAt(forms, 0);
  const unchanged: ChosenForm = { form: usual, speedup: 1 };
  const total = new Map<ProductForm, number>();
  let left = forms.slice(1);
  for (let round = 0, tries = 0; round < ROUNDS && left.length > 0; tries++) {
    if (isLate() || tries === MOST_TRIES) return unchanged;
    const took = new Map<ProductForm, number>();
    const inTurn = tries % 2 === 0 ? [usual, ...left] : [...left, usual];
    for (const form of inTurn) {
      const ms = await time(form);
      if (ms === undefined) break;
      took.set(form, ms);
    }
    if (took.size < inTurn.length) continue;
    for (const [form, ms] of took) total.set(form, (total.get(form) ?? 0) + ms);
    left = left.filter((form) => required(took, form) * (1 + MARGIN) < required(took, usual));
    round++;
  }
  const form = left.toSorted((a, b) => required(total, a) - required(total, b))[0];
  if (form === undefined) return unchanged;
  return { form, speedup: required(total, usual) / required(total, form) };
}

/** A session of its own in which products are timed. */
export class FormTimer {
  readonly #api: CApi;
  readonly #graph: Graph;
  readonly #writer: GraphWriter;
  readonly #session: Session;
  readonly #loops: LoopFunctions;
  /** Of what was timed last; before that, an assumption. */
  #flopsPerMs: number;
  #phases = 0;

  /** @param threads inside one op; 0 lets TensorFlow choose */
  constructor(api: CApi, threads: number) {
    this.#api = api;
    this.#graph = new Graph(api);
    this.#writer = new GraphWriter(api, this.#graph);
    this.#loops = new LoopFunctions(api, this.#graph);
    // One op at a time, so that the products of a run come one after the other.
    this.#session = new Session(api, this.#graph, { intraOpThreads: threads, interOpThreads: 1 });
    this.#flopsPerMs = ASSUMED_FLOPS_PER_MS * Math.max(1, threads);
  }

  /** About how long the shortest timing of a product takes: each form once to warm up, and once more. */
  expectedMs(product: Product): number {
    return (2 * formsOf(product).length * productFlops(product)) / this.#flopsPerMs;
  }

  /** As `race`, on operands of its own. */
  async fastest(product: Product, isLate: () => boolean): Promise<ChosenForm> {
    const flops = productFlops(product);
    const count = Math.min(MOST_PRODUCTS, Math.max(1, Math.round((RUN_MS * this.#flopsPerMs) / flops)));
    const operands = [product.left, product.right].map((shape) => filled(this.#api, product.dtype, shape));
    try {
      const runs = new Map<ProductForm, () => Promise<number>>();
      for (const form of formsOf(product)) {
        const run = this.#prepare(product, form, count, operands);
        // TensorFlow plans the run, and oneDNN generates the kernel.
        await run();
        runs.set(form, run);
      }
      const time = async (form: ProductForm) => {
        const waitedMs = threadWaitMs();
        const ms = await required(runs, form)();
        const moreMs = (threadWaitMs() ?? 0) - (waitedMs ?? 0);
        this.#flopsPerMs = (count * flops) / ms;
        return moreMs > WAITING * ms ? undefined : ms;
      };
      return await race([...runs.keys()], time, isLate);
    } finally {
      for (const operand of operands) operand.dispose();
    }
  }

  dispose(): void {
    this.#session.dispose();
    this.#writer.dispose();
    this.#graph.dispose();
  }

  /** A run of equal products in a form, which resolves with its milliseconds. */
  #prepare(
    product: Product,
    form: ProductForm,
    count: number,
    [left, right]: readonly NativeTensor[],
  ): () => Promise<number> {
    const phase = `${this.#phases++}-${form}`;
    const recording = recordProducts(product, phase, count);
    const forms = new Map([[productName(product), form]]);
    const compiled = compilePhase(this.#writer, withProductForms(recording, forms), new Map(), this.#loops);
    const feeds = [...compiled.inputs].map(([name, output]) => {
      return { output, tensor: name.startsWith('left') ? left : right } as Feed;
    });
    const targets = compiled.outputs.map(({ operation }): Pointer => operation);
    return async () => {
      const startedMs = performance.now();
      await this.#session.run(feeds, [], targets, `timing a product ${phase}`);
      return performance.now() - startedMs;
    };
  }
}

/** Ordinary numbers between 1 and 2: kernels are slower on denormals, and some processors faster on zeros. */
function filled(api: CApi, dtype: Product['dtype'], shape: readonly number[]): NativeTensor {
  const tensor = NativeTensor.allocate(api, dtype, shape);
  const { bytes } = tensor;
  const some = Float32Array.from({ length: 1024 }, (_, i) => 1 + i / 1024);
  // A bfloat16 is the upper half of a float32.
  const halves = Uint16Array.from(new Uint16Array(some.buffer).filter((_, i) => i % 2 === 1));
  const pattern = new Uint8Array(dtype === 'float32' ? some.buffer : halves.buffer);
  for (let at = 0; at < bytes.length; at += pattern.length) bytes.set(pattern.subarray(0, bytes.length - at), at);
  return tensor;
}
