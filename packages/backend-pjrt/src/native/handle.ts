import { deferred, WeftError } from '@weft/common';
import type { Plugin } from './plugin.js';
import type { Pointer } from './struct.js';

/**
 * A native object with one owner. It is freed once; to use it afterwards, or to free it again, is an error instead of a
 * crash. While a call on another thread works with it, freeing waits for the end of that call.
 */
export abstract class Handle {
  readonly #what: string;
  readonly #scope: Scope;
  #pointer: Pointer | undefined;
  #users = 0;
  /** Set from a `free` under running calls to the end of the last of them. */
  #whenUnused: (() => void) | undefined;

  /** @param what for messages: "a buffer of float32[2,3]" */
  constructor(what: string, pointer: Pointer, scope: Scope) {
    this.#what = what;
    this.#pointer = pointer;
    this.#scope = scope;
    scope.handles.add(this);
  }

  /** The address, for a call on this thread. @throws WeftError `internal` after `free`. */
  get pointer(): Pointer {
    if (this.#pointer === undefined) throw new WeftError('internal', `${this.#what} was used after it was freed`);
    return this.#pointer;
  }

  get isFreed(): boolean {
    return this.#pointer === undefined;
  }

  /** @throws WeftError `internal` when it was freed before. */
  free(): void {
    if (this.#pointer === undefined) throw new WeftError('internal', `${this.#what} was freed twice`);
    const pointer = this.#pointer;
    this.#pointer = undefined;
    this.#scope.handles.delete(this);
    if (this.#users === 0) this.destroy(pointer);
    else this.#whenUnused = () => this.destroy(pointer);
  }

  protected abstract destroy(pointer: Pointer): void;

  /** A call on another thread begins to work with it. @throws WeftError `internal` after `free`. */
  take(): void {
    void this.pointer;
    this.#users++;
  }

  /** That call is over. */
  giveBack(): void {
    this.#users--;
    if (this.#users > 0) return;
    this.#whenUnused?.();
    this.#whenUnused = undefined;
  }
}

/** The handles and the calls under way of one client: what must be over and freed before the client is. */
export class Scope {
  readonly plugin: Plugin;
  readonly handles = new Set<Handle>();
  readonly #calls = new Set<Promise<void>>();

  constructor(plugin: Plugin) {
    this.plugin = plugin;
  }

  /** Runs calls on other threads over some handles, none of which is destroyed before they are over. */
  async during<T>(handles: readonly Handle[], work: () => Promise<T>): Promise<T> {
    const taken: Handle[] = [];
    const call = deferred();
    this.#calls.add(call.promise);
    try {
      for (const handle of handles) {
        handle.take();
        taken.push(handle);
      }
      return await work();
    } finally {
      for (const handle of taken) handle.giveBack();
      this.#calls.delete(call.promise);
      call.resolve();
    }
  }

  /** Waits for every call, then frees every handle, the last made first. */
  async close(): Promise<void> {
    while (this.#calls.size > 0) await Promise.all(this.#calls);
    for (const handle of [...this.handles].reverse()) if (!handle.isFreed) handle.free();
  }
}
