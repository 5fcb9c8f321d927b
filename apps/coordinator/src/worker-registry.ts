import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type Clock, WeftError } from '@weft/common';
import { type TimeBucket, timeBucketOf, type WorkTime, workTimeFromProto } from '@weft/contracts';
import { type ClusterEvent, learnProgress, type MemberProgress, type ToldProgress } from '@weft/coordination';
import { watchMemory } from '@weft/files';
import type { CoordinatorMessage, Hello, WorkerMessage } from '@weft/proto';
import type { MessageStream } from '@weft/rpc';
import type { DecisionQueue } from './decision-queue.js';
import type { Profiles } from './profiles.js';
import { refuseOtherVersion } from './request-parsing.js';
import { eventFromMessage, heldFromHello, identityFromHello, progressFromProto, welcomeMessage } from './wire.js';

const HELLO_TIMEOUT_MS = 10_000;

type WorkerStream = MessageStream<WorkerMessage, CoordinatorMessage>;

export interface WorkerRegistryOptions {
  readonly queue: DecisionQueue;
  readonly streams: WorkerStreams;
  readonly dispatch: (event: ClusterEvent) => void;
  /** Takes a worker's account of its time since it was assigned to a run. */
  readonly reportTime: (runId: string, workerId: string, spent: WorkTime, bucket: TimeBucket) => void;
  readonly profiles: Pick<Profiles, 'received' | 'clockReplied' | 'left'>;
  readonly clock: Clock;
  /** The interval of heartbeats that workers get with the welcome. */
  readonly heartbeatIntervalMs: number;
}

/** Accepts workers and turns their messages into events. */
export class WorkerRegistry {
  readonly #options: WorkerRegistryOptions;

  constructor(options: WorkerRegistryOptions) {
    this.#options = options;
  }

  /**
   * Serves one worker, from its hello until its stream ends.
   *
   * @throws WeftError `version_mismatch` for a worker of another version, `invalid_argument` when its first message is not
   *   a hello or has a field that is too long, `deadline_exceeded` when none comes.
   */
  async connect(stream: WorkerStream): Promise<void> {
    const { clock, dispatch, heartbeatIntervalMs, profiles, streams } = this.#options;
    const messages = stream.messages[Symbol.asyncIterator]();
    const hello = await receiveHello(messages, clock);
    checkBounds(hello);
    const { workerId } = hello;
    refuseOtherVersion(hello.version, `worker ${workerId} on ${hello.hostName}`);
    const token = streams.add(workerId, stream);
    streams.heard(workerId, clock.nowMs());
    stream.send(welcomeMessage(heartbeatIntervalMs, token));
    dispatch({ kind: 'workerConnected', worker: identityFromHello(hello), held: heldFromHello(hello) });
    // Of a worker of this machine it can be known what killed it.
    const memory = hello.hostName === hostname() ? watchMemory(hello.processId) : undefined;
    let reason = 'it left';
    try {
      for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
        const { body } = next.value;
        if (streams.isCurrent(workerId, stream)) {
          streams.heard(workerId, clock.nowMs());
          const progress = body?.$case === 'heartbeat' ? body.heartbeat.progress : undefined;
          const told = body?.$case === 'progress' ? body.progress : progress;
          if (told !== undefined) streams.told(workerId, progressFromProto(told), clock.nowMs());
        }
        if (body?.$case === 'timeReport') {
          const { runId, buckets, bucket } = body.timeReport;
          this.#options.reportTime(runId, workerId, workTimeFromProto(buckets), timeBucketOf(bucket));
        }
        if (body?.$case === 'profilePart') profiles.received(workerId, body.profilePart);
        if (body?.$case === 'clockReply') profiles.clockReplied(workerId, body.clockReply);
        const event = eventFromMessage(workerId, next.value);
        if (event !== undefined && streams.isCurrent(workerId, stream)) dispatch(event);
      }
    } catch (thrown) {
      const wasKilled = (await (await memory)?.wasKilled()) === true;
      reason = wasKilled ? 'its process was killed for want of memory' : WeftError.from(thrown).message;
    }
    profiles.left(workerId);
    if (streams.remove(workerId, stream)) dispatch({ kind: 'workerDisconnected', workerId, reason });
  }

  /**
   * A heartbeat that did not come on the worker's stream. Without the token of that stream it counts for nothing: a stranger's
   * would keep a worker that hangs.
   *
   * @throws WeftError `not_found` when no worker is connected by a stream with this token.
   */
  heartbeat(workerId: string, token: string): void {
    const { clock, streams } = this.#options;
    if (!streams.hasToken(workerId, token))
      throw new WeftError('not_found', `worker ${workerId} is not connected by the stream of this heartbeat`);
    streams.heard(workerId, clock.nowMs());
  }
}

async function receiveHello(messages: AsyncIterator<WorkerMessage>, clock: Clock): Promise<Hello> {
  const timeout = new AbortController();
  // Not `withTimeout`, because tests control the coordinator's clock.
  const expired = clock.sleep(HELLO_TIMEOUT_MS, timeout.signal).then(() => {
    throw new WeftError('deadline_exceeded', `no hello came within ${HELLO_TIMEOUT_MS / 1000} s`);
  });
  expired.catch(() => {});
  try {
    const { value, done } = await Promise.race([messages.next(), expired]);
    if (done === true || value.body?.$case !== 'hello' || value.body.hello.workerId === '')
      throw new WeftError('invalid_argument', 'the first message of a worker must be a hello with its id');
    return value.body.hello;
  } finally {
    timeout.abort();
  }
}

/** No name of a host, a device or an address is longer. */
const LONGEST_TEXT = 256;
const MOST_ENTRIES = 16;

/** What a worker says of itself is kept, logged and shown: it has to be short, and one line. */
function checkBounds(hello: Hello): void {
  const { held, ...plain } = hello;
  for (const [field, value] of Object.entries({ ...plain, 'held.runId': held?.runId })) {
    const texts: readonly unknown[] = Array.isArray(value) ? value : [value];
    const isBounded = (text: unknown) =>
      typeof text !== 'string' || (text.length <= LONGEST_TEXT && !/\p{Cc}/u.test(text));
    if (texts.length <= MOST_ENTRIES && texts.every(isBounded)) continue;
    throw new WeftError(
      'invalid_argument',
      `the field ${field} of a worker's hello must be one line of at most ${LONGEST_TEXT} characters`,
      { hint: 'start the worker with `weft worker`, of the version of this coordinator' },
    );
  }
}

/** The open streams, by worker. */
export class WorkerStreams {
  readonly #streams = new Map<string, WorkerStream>();
  /** What only the worker of the current stream knows. */
  readonly #tokens = new WeakMap<WorkerStream, string>();
  /** Of the current stream, the one that was silent the longest first. Every message of a worker counts as a heartbeat. */
  readonly #lastMessageMs = new Map<string, number>();
  /** Where the worker was in its run when it last told, on its current stream. */
  readonly #progress = new Map<string, MemberProgress>();

  /** Makes a stream the worker's current one; an older one of the same worker is closed. Returns the stream's new token. */
  add(workerId: string, stream: WorkerStream): string {
    this.#streams.get(workerId)?.close();
    this.#streams.set(workerId, stream);
    this.#lastMessageMs.delete(workerId);
    this.#progress.delete(workerId);
    const token = randomBytes(16).toString('hex');
    this.#tokens.set(stream, token);
    return token;
  }

  heard(workerId: string, nowMs: number): void {
    this.#lastMessageMs.delete(workerId);
    this.#lastMessageMs.set(workerId, nowMs);
  }

  /** When the last message came on the worker's current stream, or beside it; undefined: none since its hello. */
  lastMessageMs(workerId: string): number | undefined {
    return this.#lastMessageMs.get(workerId);
  }

  told(workerId: string, progress: ToldProgress, nowMs: number): void {
    this.#progress.set(workerId, learnProgress(this.#progress.get(workerId), progress, nowMs));
  }

  /** Where the worker was in its run when it last told; undefined: it has not. */
  progressOf(workerId: string): MemberProgress | undefined {
    return this.#progress.get(workerId);
  }

  /** The workers whose last message came before a time, or later than now, because the clock was set back. */
  *silentBefore(timeMs: number, nowMs: number): Generator<string, void, undefined> {
    for (const [workerId, lastMs] of this.#lastMessageMs) {
      if (lastMs >= timeMs && lastMs <= nowMs) return;
      yield workerId;
    }
  }

  /** Whether the worker's current stream has this token. */
  hasToken(workerId: string, token: string): boolean {
    const stream = this.#streams.get(workerId);
    return stream !== undefined && this.#tokens.get(stream) === token;
  }

  /** Whether it was the worker's current stream, and not an older one. */
  remove(workerId: string, stream: WorkerStream): boolean {
    if (!this.isCurrent(workerId, stream)) return false;
    this.#forget(workerId);
    return true;
  }

  isCurrent(workerId: string, stream: WorkerStream): boolean {
    return this.#streams.get(workerId) === stream;
  }

  send(workerId: string, message: CoordinatorMessage): void {
    this.#streams.get(workerId)?.send(message);
  }

  close(workerId: string, error?: WeftError): void {
    const stream = this.#streams.get(workerId);
    this.#forget(workerId);
    stream?.close(error);
  }

  #forget(workerId: string): void {
    this.#streams.delete(workerId);
    this.#lastMessageMs.delete(workerId);
    this.#progress.delete(workerId);
  }

  closeAll(error: WeftError): void {
    for (const workerId of [...this.#streams.keys()]) this.close(workerId, error);
  }
}
