import { type Deferred, deferred, refuse, settlesWithin, WeftError, withTimeout } from '@weft/common';
import type { Duplex, Sender } from '../transport/duplex.js';
import { SharedPipe, SharedSender } from '../transport/shared-memory/pipe.js';
import { greet, type Hello, knowsToken, refuseCaller, welcome } from './handshake.js';
import { type GenerationId, generationName } from './rank-id.js';

const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How long a caller may wait for this process to join its generation. */
const EARLY_CALLER_TIMEOUT_MS = 10_000;
/** How long a refused caller may take to close the connection itself. */
const REFUSED_CALLER_TIMEOUT_MS = 1_000;
/** So many may be silent, and so many early. One more takes the place of the oldest: peers speak at once, strangers may not. */
const MAX_CALLERS = 256;

/**
 * The connections that one generation expects: those of the next rank to a ring, of all ranks to an expert worker, of
 * newcomers to a rank that holds the state, or of expert workers that get experts from another.
 */
export interface ExpectedCallers extends GenerationId {
  /** Ring and experts of a generation are accepted independently. */
  readonly purpose: Purpose;
  /** What is called here, for messages: "the ring of run r-1, generation 3". */
  readonly name: string;
  /** Shared by the members of the generation. */
  readonly token: string;
  /** How many connections are expected. */
  readonly connections: number;
  /**
   * The number of the caller's connection, from 0 up to `connections`.
   *
   * @throws WeftError the refusal of a caller that is not expected.
   */
  indexOf(hello: Hello): number;
}

type Purpose = 'ring' | 'experts' | 'state' | 'copies';

/** A connection that an acceptor has admitted. */
export interface AcceptedConnection {
  readonly duplex: Duplex;
  /** Sends through the memory that the caller offered, where this process can use it; else the duplex. */
  readonly sender: Sender;
}

/**
 * Leads every arriving connection through the handshake to the acceptor of its generation. A caller that comes before this
 * process has joined its generation waits; a caller of a past generation is refused.
 */
export class ConnectionAcceptor {
  readonly #acceptors = new Map<string, Acceptor>();
  /** By run. */
  readonly #newestGeneration = new Map<string, number>();
  /** All that are not admitted yet, and those of them that have not said who they are, oldest first. */
  readonly #callers = new Set<Duplex>();
  readonly #silent = new Set<Duplex>();
  readonly #early = new Set<EarlyCaller>();

  /**
   * Starts to accept the callers of one generation.
   *
   * @throws WeftError `already_exists` while this process accepts the same callers.
   */
  accept(expected: ExpectedCallers): Acceptor {
    const key = acceptorKey(expected.purpose, expected);
    if (this.#acceptors.has(key))
      refuse(
        'already_exists',
        `this process is already joining the ${expected.purpose} of ${generationName(expected)}`,
      );
    const acceptor = new Acceptor(expected, () => this.#acceptors.delete(key));
    this.#acceptors.set(key, acceptor);
    this.#newestGeneration.set(expected.runId, expected.generation);
    for (const { hello, found } of this.#early) {
      if (acceptorKey(purposeOf(hello), hello) === key) found.resolve(acceptor);
      else if (hello.runId === expected.runId && hello.generation < expected.generation)
        found.reject(pastGeneration(hello, expected.generation));
    }
    return acceptor;
  }

  /**
   * Handles one arriving connection until it is admitted or refused; never rejects.
   *
   * @param isLocal the caller is a process of this machine
   */
  async handle(duplex: Duplex, isLocal: boolean): Promise<void> {
    const [oldest] = this.#silent;
    if (oldest !== undefined && this.#silent.size >= MAX_CALLERS) oldest.destroy();
    this.#callers.add(duplex);
    this.#silent.add(duplex);
    void duplex.closed.then(() => this.#silent.delete(duplex));
    const timer = setTimeout(() => duplex.destroy(), HANDSHAKE_TIMEOUT_MS);
    try {
      const hello = await greet(duplex);
      clearTimeout(timer);
      this.#silent.delete(duplex);
      const acceptor = await this.#acceptorOf(hello, duplex);
      acceptor.admit(hello, duplex, isLocal);
    } catch (thrown) {
      refuseCaller(duplex, WeftError.from(thrown));
      await settlesWithin(duplex.closed, REFUSED_CALLER_TIMEOUT_MS);
      duplex.destroy();
    } finally {
      clearTimeout(timer);
      this.#callers.delete(duplex);
      this.#silent.delete(duplex);
    }
  }

  /** Closes the connections of all callers that are not admitted, and all acceptors. */
  close(): void {
    for (const duplex of this.#callers) duplex.destroy();
    for (const acceptor of this.#acceptors.values()) acceptor.close();
  }

  async #acceptorOf(hello: Hello, duplex: Duplex): Promise<Acceptor> {
    const acceptor = this.#acceptors.get(acceptorKey(purposeOf(hello), hello));
    if (acceptor !== undefined) return acceptor;
    const newest = this.#newestGeneration.get(hello.runId);
    if (newest !== undefined && hello.generation < newest) throw pastGeneration(hello, newest);
    const [oldest] = this.#early;
    if (oldest !== undefined && this.#early.size >= MAX_CALLERS)
      oldest.found.reject(new WeftError('unavailable', 'too many callers came before their generation'));
    const found = deferred<Acceptor>();
    const caller = { hello, found };
    this.#early.add(caller);
    void duplex.closed.then(() => found.reject(new WeftError('unavailable', 'the caller closed the connection')));
    try {
      return await withTimeout(found.promise, {
        timeoutMs: EARLY_CALLER_TIMEOUT_MS,
        doing: `joining ${generationName(hello)}`,
        onTimeout: () => new WeftError('unavailable', `the called worker has not joined ${generationName(hello)}`),
      });
    } finally {
      this.#early.delete(caller);
    }
  }
}

/** Admits the expected callers of one generation, one connection each. */
export class Acceptor {
  /** Resolves when all expected connections are open, by their index; stays pending after an early `close`. */
  readonly connections: Promise<readonly AcceptedConnection[]>;
  readonly #complete: (connections: readonly AcceptedConnection[]) => void;
  readonly #expected: ExpectedCallers;
  readonly #onClose: () => void;
  readonly #admitted: (AcceptedConnection | undefined)[];
  #isDone = false;

  constructor(expected: ExpectedCallers, onClose: () => void) {
    this.#expected = expected;
    this.#onClose = onClose;
    this.#admitted = Array.from({ length: expected.connections }, () => undefined);
    ({ promise: this.connections, resolve: this.#complete } = deferred<readonly AcceptedConnection[]>());
  }

  /** The indices of the connections that are not open. */
  get missing(): readonly number[] {
    return [...this.#admitted.keys()].filter((index) => this.#admitted[index] === undefined);
  }

  /**
   * @param isLocal the caller is a process of this machine
   * @throws WeftError the refusal, when this caller is not expected.
   */
  admit(hello: Hello, duplex: Duplex, isLocal: boolean): void {
    const { name, token } = this.#expected;
    if (!knowsToken(hello, token))
      refuse('failed_precondition', `rank ${hello.rank} does not know the token of ${name}`);
    const index = this.#expected.indexOf(hello);
    if (this.#isDone || this.#admitted[index] !== undefined)
      refuse('already_exists', `rank ${hello.rank} has its ${hello.link} connection to ${name} already`);
    // Names of memory that come over TCP are of another machine.
    const offersMemory = isLocal && hello.link === 'data' && hello.memory !== '';
    const pipe = offersMemory ? SharedPipe.open(hello.memory) : undefined;
    welcome(duplex, hello, token, pipe !== undefined);
    const connection = { duplex, sender: pipe === undefined ? duplex : new SharedSender(duplex, pipe) };
    this.#admitted[index] = connection;
    void duplex.closed.then(() => {
      if (!this.#isDone && this.#admitted[index] === connection) this.#admitted[index] = undefined;
    });
    const admitted = this.#admitted.filter((each) => each !== undefined);
    if (admitted.length < this.#admitted.length) return;
    this.#isDone = true;
    this.#complete(admitted);
  }

  /** Admits no more callers. Closes the admitted connections if some are still missing. */
  close(): void {
    if (!this.#isDone) for (const connection of this.#admitted) connection?.sender.destroy();
    this.#isDone = true;
    this.#onClose();
  }
}

interface EarlyCaller {
  readonly hello: Hello;
  readonly found: Deferred<Acceptor>;
}

function purposeOf({ link }: Hello): Purpose {
  return link === 'data' || link === 'control' ? 'ring' : link;
}

function acceptorKey(purpose: Purpose, { runId, generation }: GenerationId): string {
  return JSON.stringify([purpose, runId, generation]);
}

function pastGeneration({ runId, generation }: GenerationId, newest: number): WeftError {
  return new WeftError(
    'failed_precondition',
    `generation ${generation} of run ${runId} is over: the called worker is in generation ${newest}`,
    { hint: 'wait for the coordinator to assign a rank in the newest generation' },
  );
}
