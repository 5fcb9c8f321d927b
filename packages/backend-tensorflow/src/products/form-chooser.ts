import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { isJsonObject, sleep, vectorInstructions, WeftError } from '@weft/common';
import { makeDirectory, ProcessLock, readJsonFile, writeJsonFile } from '@weft/files';
import { cacheDirectory } from '@weft/native-setup';
import {
  formsOf,
  PRODUCT_FORMS,
  type Product,
  type ProductForm,
  productFlops,
  productsOf,
  type Recording,
} from '@weft/tensor';
import type { CApi } from '../native/c-api.js';
import { type ChosenForm, FormTimer } from './time-forms.js';

/** Timing may take so long for all phases of a program together. */
const BUDGET_MS = 3_000;
/** Smaller products take a tenth of a millisecond, as calling them does. */
const LEAST_FLOPS = 2 ** 24;
/** How long to wait while another process of this host times: a little longer than it may take under load. */
const PATIENCE_MS = 20_000;
const RETRY_MS = 50;
/** Of the file. Another form of timing means other choices. */
const VERSION = 1;

/** Everything but the product that decides which form is fast. */
export interface FormsKey {
  readonly version: number;
  readonly processor: string;
  readonly instructions: readonly string[];
  /** Its version. */
  readonly tensorflow: string;
  readonly threads: number;
  /** The settings of the environment that choose other kernels. */
  readonly settings: Readonly<Record<string, string>>;
}

/** What decides the forms in this process. @param threads inside one op; 0: all cores */
export function formsKey(tensorflow: string, threads: number): FormsKey {
  const settings = Object.entries(process.env).filter(([name]) => /^(TF_ENABLE_ONEDNN|ONEDNN_|DNNL_)/.test(name));
  return {
    version: VERSION,
    processor: cpus()[0]?.model ?? 'unknown',
    instructions: vectorInstructions(process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : ''),
    tensorflow,
    threads: threads === 0 ? availableParallelism() : threads,
    settings: Object.fromEntries(settings.map(([name, value]) => [name, value ?? ''])),
  };
}

/**
 * The folder that keeps the forms on this host, in Weft's cache. Undefined where the environment has
 * `WEFT_PRODUCT_FORMS=fixed`: then nothing is timed, and the same bits come out of every start.
 */
export function productFormsDirectory(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = environment.WEFT_PRODUCT_FORMS;
  if (named === 'fixed') return undefined;
  if (named === undefined || named === '' || named === 'timed')
    return join(cacheDirectory(environment), 'product-forms');
  throw new WeftError('invalid_argument', `WEFT_PRODUCT_FORMS is "${named}", neither timed nor fixed`);
}

/** Times products, for at most as long as it is given. */
export interface ProductTimer {
  expectedMs(product: Product): number;
  fastest(product: Product, isLate: () => boolean): Promise<ChosenForm>;
  dispose(): void;
}

export interface FormChooserOptions {
  readonly key: FormsKey;
  /** The folder of the choices; it need not exist. */
  readonly directory: string;
  /** Opens what times products; disposed after each use. */
  readonly openTimer: () => ProductTimer;
  /** Default: 3 s. */
  readonly budgetMs?: number;
}

type Forms = ReadonlyMap<string, ChosenForm>;

const UNTIMED: ChosenForm = { form: 'batch', speedup: 1 };

/**
 * Chooses the form of each product of a program, once per processor: what was chosen is kept in a file and never changes
 * while that file is there, so that every start, and every process of a host, computes the same bits. What there was no time for keeps its
 * usual form, and so does everything where nothing can be kept.
 */
export class FormChooser {
  readonly #options: FormChooserOptions;
  readonly #path: string;
  #leftMs: number;

  constructor(options: FormChooserOptions) {
    const { key, directory, budgetMs = BUDGET_MS } = options;
    this.#options = options;
    this.#leftMs = budgetMs;
    const digest = createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 16);
    this.#path = join(directory, `${digest}.json`);
  }

  /** The forms of a phase's products, by name; those that are absent keep the usual one. */
  async formsOf(recording: Recording): Promise<ReadonlyMap<string, ProductForm>> {
    const chosen = await this.#chosen(recording);
    return new Map([...chosen].map(([name, { form }]) => [name, form]));
  }

  async #chosen(recording: Recording): Promise<Forms> {
    const products = new Map([...productsOf(recording)].filter(([, product]) => isWorthTiming(product)));
    const known = await this.#read();
    if (isComplete(known, products)) return known;
    try {
      await makeDirectory(this.#options.directory);
      const lock = await this.#lock();
      try {
        return await this.#timed(products);
      } finally {
        await lock.release();
      }
    } catch {
      // Training needs no timing; and choices that cannot be kept would be others at the next start.
      return known;
    }
  }

  /** Waits for its turn. @throws WeftError `failed_precondition` when another process has the lock all the time */
  async #lock(): Promise<ProcessLock> {
    for (let waitedMs = 0; ; waitedMs += RETRY_MS) {
      try {
        return await ProcessLock.acquire(`${this.#path}.lock`, 'the forms of products');
      } catch (thrown) {
        if (!WeftError.is(thrown, 'failed_precondition') || waitedMs >= PATIENCE_MS) throw thrown;
        await sleep(RETRY_MS);
      }
    }
  }

  async #timed(products: ReadonlyMap<string, Product>): Promise<Forms> {
    // Another process may have timed while this one waited for the lock.
    const forms = new Map(await this.#read());
    if (isComplete(forms, products)) return forms;
    const startedMs = performance.now();
    const passedMs = () => performance.now() - startedMs;
    const timer = this.#options.openTimer();
    try {
      // The small ones first: they tell how long the larger ones take.
      const missing = [...products].filter((each) => !isChosen(forms, each));
      for (const [name, product] of missing.toSorted(([, a], [, b]) => productFlops(a) - productFlops(b))) {
        const isLate = () => passedMs() > this.#leftMs;
        const isTooLong = passedMs() + timer.expectedMs(product) > this.#leftMs;
        forms.set(name, isTooLong ? UNTIMED : await timer.fastest(product, isLate));
      }
    } finally {
      timer.dispose();
    }
    this.#leftMs = Math.max(0, this.#leftMs - passedMs());
    await this.#write(forms);
    return forms;
  }

  /** What was chosen before. A file that is not whole, or of another processor, counts as none. */
  async #read(): Promise<Forms> {
    const found = await readJsonFile(this.#path).catch(() => undefined);
    if (!isJsonObject(found) || !isJsonObject(found.forms)) return new Map();
    if (JSON.stringify(found.key) !== JSON.stringify(this.#options.key)) return new Map();
    const known = Object.entries(found.forms).flatMap(([name, chosen]) => {
      const form = isJsonObject(chosen) && PRODUCT_FORMS.find((each) => each === chosen.form);
      return form ? [[name, { form, speedup: Number(chosen.speedup) }] as const] : [];
    });
    return new Map(known);
  }

  async #write(forms: Forms): Promise<void> {
    await writeJsonFile(this.#path, { key: this.#options.key, forms: Object.fromEntries(forms) });
  }
}

/** A chooser that times through TensorFlow. @param threads inside one op; 0: all cores */
export function tensorflowFormChooser(api: CApi, directory: string, threads: number): FormChooser {
  return new FormChooser({
    key: formsKey(String(api.TF_Version()), threads),
    directory,
    openTimer: () => new FormTimer(api, threads),
  });
}

function isWorthTiming(product: Product): boolean {
  return formsOf(product).length > 1 && productFlops(product) >= LEAST_FLOPS;
}

function isComplete(forms: Forms, products: ReadonlyMap<string, Product>): boolean {
  return [...products].every((each) => isChosen(forms, each));
}

function isChosen(forms: Forms, [name, product]: readonly [string, Product]): boolean {
  const chosen = forms.get(name);
  return chosen !== undefined && formsOf(product).includes(chosen.form);
}
