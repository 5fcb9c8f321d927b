import type { ExpertHost, ExpertRequest } from '@weft/collectives';
import { WeftError } from '@weft/common';

/** Keeps the ranks' requests until somebody has time for them. */
export class RequestDesk {
  #waiting: ExpertRequest[] = [];
  #failure: WeftError | undefined;
  #wake: () => void = () => {};
  #changed!: Promise<void>;

  constructor(host: ExpertHost) {
    this.#sleep();
    void this.#listen(host);
  }

  /** The first request of a kind that may be served now. @throws why no request will come any more. */
  take<Request extends ExpertRequest>(may: (request: ExpertRequest) => request is Request): Request | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const found = this.#waiting.find(may);
    if (found !== undefined) this.#waiting = this.#waiting.filter((request) => request !== found);
    return found;
  }

  /** Whether such a request waits. */
  holds(is: (request: ExpertRequest) => boolean): boolean {
    return this.#waiting.some(is);
  }

  /** Resolves when something has changed since the last call. */
  async changed(): Promise<void> {
    await this.#changed;
    this.#sleep();
  }

  async #listen(host: ExpertHost): Promise<void> {
    try {
      for await (const request of host.requests()) {
        this.#waiting.push(request);
        this.#wake();
      }
      this.#failure = new WeftError('cancelled', 'the exchange with the ranks is closed');
    } catch (thrown) {
      this.#failure = WeftError.from(thrown);
    }
    this.#wake();
  }

  #sleep(): void {
    this.#changed = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
