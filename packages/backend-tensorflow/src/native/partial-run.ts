import type { CApi, OutputPointer, Pointer } from './c-api.js';
import { Handle, NativeTensor, Status } from './handles.js';

/** A value to feed: which placeholder gets which tensor. */
export interface Feed {
  readonly output: OutputPointer;
  readonly tensor: NativeTensor;
}

/** Everything that a partial run will be fed, give back and run as targets, over its whole life. */
export interface PartialRunPlan {
  readonly feeds: readonly OutputPointer[];
  readonly fetches: readonly OutputPointer[];
  readonly targets: readonly Pointer[];
}

/**
 * One run of a session that is fed and fetched bit by bit (TensorFlow's partial run). It is over, and its memory free,
 * once every feed was given and every fetch taken; until then the session must not be closed.
 */
export class PartialRun extends Handle {
  readonly #api: CApi;
  readonly #session: Pointer;
  readonly #doing: string;

  constructor(api: CApi, session: Pointer, { feeds, fetches, targets }: PartialRunPlan, doing: string) {
    const status = new Status(api);
    const handle: Pointer[] = [null];
    try {
      api.TF_SessionPRunSetup(
        session,
        feeds,
        feeds.length,
        fetches,
        fetches.length,
        targets,
        targets.length,
        handle,
        status.pointer,
      );
      status.check(doing);
      super('a partial run', handle[0]);
      this.#api = api;
      this.#session = session;
      this.#doing = doing;
    } finally {
      status.dispose();
    }
  }

  /** Gives some feeds and waits for some fetches, off the main thread; returned tensors belong to the caller. */
  async advance(feeds: readonly Feed[], fetches: readonly OutputPointer[]): Promise<NativeTensor[]> {
    const status = new Status(this.#api);
    const fetched: Pointer[] = fetches.map(() => null);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#api.TF_SessionPRun.async(
          this.#session,
          this.pointer,
          feeds.map((feed) => feed.output),
          feeds.map((feed) => feed.tensor.pointer),
          feeds.length,
          fetches,
          fetched,
          fetches.length,
          [],
          0,
          status.pointer,
          (error: unknown) => (error ? reject(error) : resolve()),
        );
      });
      status.check(this.#doing);
      return fetched.map((pointer) => NativeTensor.adopt(this.#api, pointer));
    } finally {
      status.dispose();
    }
  }

  protected free(pointer: Pointer): void {
    this.#api.TF_DeletePRunHandle(pointer);
  }
}
