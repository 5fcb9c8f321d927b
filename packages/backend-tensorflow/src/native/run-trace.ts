import { type CApi, type Pointer, readBuffer } from './c-api.js';
import { type OpTiming, opTimings } from './step-stats.js';

/** `RunOptions` in protobuf wire format: trace_level = 1, FULL_TRACE = 3. */
const FULL_TRACE = Uint8Array.of(0x08, 3);

/** The two buffers with which one run of a session is traced. */
export class RunTrace {
  readonly options: Pointer;
  readonly metadata: Pointer;
  readonly #api: CApi;

  constructor(api: CApi) {
    this.#api = api;
    this.options = api.TF_NewBufferFromString(FULL_TRACE, FULL_TRACE.length);
    this.metadata = api.TF_NewBuffer();
  }

  /** The ops of the run, once it is over. */
  read(): readonly OpTiming[] {
    return opTimings(readBuffer(this.metadata));
  }

  dispose(): void {
    this.#api.TF_DeleteBuffer(this.options);
    this.#api.TF_DeleteBuffer(this.metadata);
  }
}
