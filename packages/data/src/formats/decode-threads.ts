import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type Clock, type Deferred, deferred, systemClock, WeftError } from '@weft/common';
import type { ImagePreprocessing } from '@weft/config';
import { decodeViews } from './decode-image.js';
import type { DecodeThreadData, FromDecodeThread, ToDecodeThread } from './decode-thread.js';

/** Each has one of the four threads of Node's pool, of which one stays free for files and for the tensor engine. */
const MOST_THREADS = 3;
/** The largest picture takes about half a minute. */
const PATIENCE_MS = 120_000;
/** A picture that ends as many threads is taken for what ends them. */
const MOST_ATTEMPTS = 2;

/** How pictures are decoded, and by what. */
export interface DecodeThreadsOptions {
  readonly imageSize: number;
  readonly preprocessing: ImagePreprocessing;
  /** The compiled module of a thread. Default: `decode-thread.js`; where it is not compiled, pictures are decoded in this thread. */
  readonly module?: URL;
  readonly clock?: Clock;
  /** Gets a sentence for every thread that is replaced. Default: a warning of the process. */
  readonly onReplaced?: (sentence: string) => void;
}

/**
 * Decodes pictures in threads of their own, so that resampling in JavaScript does not hold up training. They are started when
 * they are needed. A thread that ends, or does not answer in time, is replaced, and its picture given to another: what it is
 * decoded to does not depend on who does it.
 */
export class DecodeThreads {
  readonly #options: DecodeThreadsOptions;
  readonly #module: URL | undefined;
  readonly #clock: Clock;
  readonly #idle: DecodeThread[] = [];
  readonly #threads = new Set<DecodeThread>();
  readonly #waiting: Deferred<DecodeThread>[] = [];
  readonly #most = Math.min(MOST_THREADS, availableParallelism());
  #replaced = 0;
  #isClosed = false;

  constructor(options: DecodeThreadsOptions) {
    this.#options = options;
    this.#module = options.module ?? compiledModule();
    this.#clock = options.clock ?? systemClock;
  }

  /** How many threads were replaced so far. */
  get replaced(): number {
    return this.#replaced;
  }

  /** How many pictures are decoded at a time. */
  get concurrency(): number {
    return this.#module === undefined ? MOST_THREADS : this.#most;
  }

  /**
   * The views of a picture, see `decodeViews`.
   *
   * @param name of the picture, for messages
   * @throws the decoder's error; one that says that threads end or do not answer with this picture
   */
  async decode(encoded: Uint8Array, name: string): Promise<readonly Uint8Array[]> {
    const { imageSize, preprocessing } = this.#options;
    if (this.#module === undefined) return await decodeViews(encoded, imageSize, preprocessing);
    let lost = '';
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const thread = await this.#take();
      const reply = await this.#ask(thread, encoded);
      if (this.#isClosed) throw closed();
      if (typeof reply === 'string') {
        this.#replace(thread, `${reply} while it decoded ${name}`);
        lost = reply;
        continue;
      }
      this.#giveBack(thread);
      if (reply.kind === 'failed') throw new Error(reply.reason);
      return reply.views;
    }
    throw new Error(`${MOST_ATTEMPTS} threads were lost with it: the last ${lost}`);
  }

  /** Ends the threads. What they are decoding fails. */
  close(): void {
    this.#isClosed = true;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(closed());
    for (const thread of this.#threads) thread.end();
    this.#threads.clear();
    this.#idle.length = 0;
  }

  /** @returns what the thread answers, else what became of it: a clause */
  async #ask(thread: DecodeThread, encoded: Uint8Array): Promise<FromDecodeThread | string> {
    const patience = new AbortController();
    const late = this.#clock.sleep(PATIENCE_MS, patience.signal).then(
      () => `did not answer for ${PATIENCE_MS / 1000} s`,
      () => '',
    );
    try {
      return await Promise.race([thread.ask(encoded), late]);
    } finally {
      patience.abort();
    }
  }

  async #take(): Promise<DecodeThread> {
    if (this.#isClosed) throw closed();
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#threads.size < this.#most) return this.#start();
    const waiting = deferred<DecodeThread>();
    this.#waiting.push(waiting);
    return await waiting.promise;
  }

  #start(): DecodeThread {
    const { imageSize, preprocessing } = this.#options;
    if (this.#module === undefined) throw new WeftError('internal', 'there is no module of a thread');
    const thread = new DecodeThread(this.#module, { imageSize, preprocessing });
    this.#threads.add(thread);
    return thread;
  }

  #giveBack(thread: DecodeThread): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next.resolve(thread);
    else this.#idle.push(thread);
  }

  #replace(thread: DecodeThread, what: string): void {
    if (!this.#threads.delete(thread)) return;
    thread.end();
    this.#replaced++;
    const sentence = `a loader thread ${what}, and was replaced`;
    if (this.#options.onReplaced === undefined) process.emitWarning(sentence, 'WeftWarning');
    else this.#options.onReplaced(sentence);
    const next = this.#waiting.shift();
    if (next !== undefined) next.resolve(this.#start());
  }
}

/** One picture at a time. */
class DecodeThread {
  readonly #worker: Worker;
  #answer: Deferred<FromDecodeThread | string> | undefined;
  #ended: string | undefined;

  constructor(module: URL, workerData: DecodeThreadData) {
    // Without the flags of this process, which may not suit a thread.
    this.#worker = new Worker(module, { workerData, execArgv: [] });
    this.#worker.unref();
    this.#worker.on('message', (reply: FromDecodeThread) => this.#answer?.resolve(reply));
    this.#worker.on('error', (thrown) => this.#end(`ended (${WeftError.from(thrown).message})`));
    this.#worker.on('exit', (code) => this.#end(`ended with code ${code}`));
  }

  /** @returns its answer, or what became of it */
  async ask(encoded: Uint8Array): Promise<FromDecodeThread | string> {
    if (this.#ended !== undefined) return this.#ended;
    this.#answer = deferred();
    this.#worker.postMessage({ encoded } satisfies ToDecodeThread);
    return await this.#answer.promise;
  }

  /** Does not wait: a call of the system that hangs cannot be ended. */
  end(): void {
    void this.#worker.terminate().catch(() => undefined);
  }

  #end(what: string): void {
    this.#ended ??= what;
    this.#answer?.resolve(what);
  }
}

const closed = () => new WeftError('cancelled', 'the images are closed');

function compiledModule(): URL | undefined {
  const module = new URL('./decode-thread.js', import.meta.url);
  return existsSync(fileURLToPath(module)) ? module : undefined;
}
