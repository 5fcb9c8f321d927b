import type { IncomingMessage, ServerResponse } from 'node:http';
import { WeftError } from '@weft/common';
import type { Coordinator } from '../coordinator.js';
import { commonHeaders } from './http.js';
import { describePageRun, overviewOf } from './overview.js';

/** How often an overview is made and sent where it has changed. */
const OVERVIEW_MS = 500;
/** Comments keep proxies and browsers from closing a silent stream. */
const COMMENT_MS = 15_000;
/** A browser that reads nothing is disconnected; it connects again and starts from where the run is. */
const MOST_UNREAD_BYTES = 8 * 2 ** 20;

/** Server-sent events: the overview, and of one run its changes and rows. */
export class PageStreams {
  readonly #coordinator: Coordinator;
  readonly #open = new Set<ServerResponse>();
  #timer: NodeJS.Timeout | undefined;
  #lastOverview = '';
  #lastCommentMs = 0;

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  /** Answers with a stream that goes on until the browser leaves. @param runId the run to follow, if any */
  open(request: IncomingMessage, response: ServerResponse, runId: string | undefined): void {
    if (runId !== undefined) this.#coordinator.runs.get(runId);
    response.writeHead(200, commonHeaders('text/event-stream'));
    response.write('retry: 1000\n\n');
    this.#open.add(response);
    const leaving = new AbortController();
    request.socket.once('close', () => leaving.abort());
    response.once('close', () => {
      leaving.abort();
      this.#open.delete(response);
      if (this.#open.size === 0) this.#stop();
    });
    sendEvent(response, 'overview', JSON.stringify(overviewOf(this.#coordinator)));
    this.#timer ??= setInterval(() => this.#sendOverview(), OVERVIEW_MS);
    if (runId !== undefined) void this.#followRun(response, runId, leaving.signal);
  }

  close(): void {
    this.#stop();
    for (const response of this.#open) response.end();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sendOverview(): void {
    const overview = overviewOf(this.#coordinator);
    // The clock alone is no news.
    const text = JSON.stringify({ ...overview, nowMs: 0 });
    const isNew = text !== this.#lastOverview;
    const isCommentDue = Date.now() - this.#lastCommentMs > COMMENT_MS;
    this.#lastOverview = text;
    if (isCommentDue) this.#lastCommentMs = Date.now();
    for (const response of this.#open) {
      if (isNew) sendEvent(response, 'overview', JSON.stringify(overview));
      else if (isCommentDue) response.write(':\n\n');
    }
  }

  /** Until the run ends. The page opens another stream when a run that has ended is resumed. */
  async #followRun(response: ServerResponse, runId: string, signal: AbortSignal): Promise<void> {
    try {
      sendEvent(response, 'run', JSON.stringify(describePageRun(this.#coordinator, runId)));
      for await (const { body } of this.#coordinator.runs.watch({ runId }, signal)) {
        if (body?.$case === 'metricsJson') sendEvent(response, 'row', body.metricsJson);
        if (body?.$case === 'summary')
          sendEvent(response, 'run', JSON.stringify(describePageRun(this.#coordinator, runId)));
      }
    } catch (thrown) {
      if (!signal.aborted) sendEvent(response, 'problem', JSON.stringify(WeftError.from(thrown).sentence));
    }
  }
}

function sendEvent(response: ServerResponse, name: string, data: string): void {
  if (response.writableLength > MOST_UNREAD_BYTES) response.destroy();
  else response.write(`event: ${name}\ndata: ${data}\n\n`);
}
