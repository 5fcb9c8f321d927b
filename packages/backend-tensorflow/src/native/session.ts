import type { CApi, OutputPointer, Pointer } from './c-api.js';
import { type Graph, Handle, NativeTensor, Status } from './handles.js';
import { type Feed, PartialRun } from './partial-run.js';
import { type OpTiming, RunTrace } from './run-trace.js';
import { encodeSessionConfig, type SessionConfig } from './session-config.js';

/** A session over a graph: it holds the resident variables. Runs go through the thread pool. */
export class Session extends Handle {
  readonly #api: CApi;

  constructor(api: CApi, graph: Graph, config: SessionConfig) {
    const status = new Status(api);
    const options: Pointer = api.TF_NewSessionOptions();
    try {
      const encoded = encodeSessionConfig(config);
      api.TF_SetConfig(options, encoded, encoded.length, status.pointer);
      status.check('setting the session options');
      const pointer: Pointer = api.TF_NewSession(graph.pointer, options, status.pointer);
      status.check('opening a session');
      super('a TF_Session', pointer);
      this.#api = api;
    } finally {
      api.TF_DeleteSessionOptions(options);
      status.dispose();
    }
  }

  /** Names of the devices that TensorFlow found. */
  devices(): readonly string[] {
    const status = new Status(this.#api);
    const list: Pointer = this.#api.TF_SessionListDevices(this.pointer, status.pointer);
    status.check('listing the devices');
    const count: number = this.#api.TF_DeviceListCount(list);
    const names = Array.from({ length: count }, (_, i) => String(this.#api.TF_DeviceListName(list, i, status.pointer)));
    this.#api.TF_DeleteDeviceList(list);
    status.dispose();
    return names;
  }

  /** Runs the graph off the main thread; returned tensors belong to the caller. With `onTrace` it times every op. */
  async run(
    feeds: readonly Feed[],
    fetches: readonly OutputPointer[],
    targets: readonly Pointer[],
    doing: string,
    onTrace?: (ops: readonly OpTiming[]) => void,
  ): Promise<NativeTensor[]> {
    const status = new Status(this.#api);
    const trace = onTrace === undefined ? undefined : new RunTrace(this.#api);
    const fetched: Pointer[] = fetches.map(() => null);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#api.TF_SessionRun.async(
          this.pointer,
          trace?.options ?? null,
          feeds.map((feed) => feed.output),
          feeds.map((feed) => feed.tensor.pointer),
          feeds.length,
          fetches,
          fetched,
          fetches.length,
          targets,
          targets.length,
          trace?.metadata ?? null,
          status.pointer,
          (error: unknown) => (error ? reject(error) : resolve()),
        );
      });
      status.check(doing);
      if (trace !== undefined) onTrace?.(trace.read());
      return fetched.map((pointer) => NativeTensor.adopt(this.#api, pointer));
    } finally {
      trace?.dispose();
      status.dispose();
    }
  }

  /**
   * Prepares one run whose feeds may come and whose fetches may leave bit by bit. It computes whatever it can from the
   * moment the first feeds are given.
   */
  beginRun(
    feeds: readonly OutputPointer[],
    fetches: readonly OutputPointer[],
    targets: readonly Pointer[],
    doing: string,
  ): PartialRun {
    return new PartialRun(this.#api, this.pointer, { feeds, fetches, targets }, doing);
  }

  protected free(pointer: Pointer): void {
    const status = new Status(this.#api);
    this.#api.TF_CloseSession(pointer, status.pointer);
    this.#api.TF_DeleteSession(pointer, status.pointer);
    status.dispose();
  }
}
