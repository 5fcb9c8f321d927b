import { WeftError } from '@weft/common';
import { ringNeighbours } from '@weft/topology';
import { greet, type Hello, knowsToken, refuse, welcome } from './handshake.js';
import type { Outlet, Wire } from './link.js';
import { type RingPlace, ringName } from './ring-place.js';
import { settledWithin } from './settled-within.js';
import { SharedOutlet } from './shared-outlet.js';
import { SharedPipe } from './shared-pipe.js';

const HANDSHAKE_MS = 10_000;
/** How long a caller may wait for this process to hear of its generation. */
const EARLY_CALLER_MS = 10_000;
/** How long a refused caller may take to hang up by itself. */
const HANG_UP_MS = 1_000;
const MAX_CALLERS = 256;

/** The two connections that the next rank makes to this one. */
export interface NextWires {
  readonly data: Outlet;
  readonly control: Wire;
}

/** Where one generation lets its callers in. */
export interface Door {
  /**
   * @param isLocal the caller is a process of this machine
   * @throws WeftError the refusal, when the caller is not who is waited for.
   */
  admit(hello: Hello, wire: Wire, isLocal: boolean): void;
  /** Lets nobody in any more. */
  close(): void;
}

/**
 * Where connections that arrive meet the ring they belong to. One that comes before its generation is known here
 * waits a little; one of a generation that is over is refused.
 */
export class Rendezvous {
  readonly #doors = new Map<string, Door>();
  readonly #newest = new Map<string, number>();
  readonly #callers = new Set<Wire>();
  readonly #waiting = new Set<{ readonly hello: Hello; readonly answer: (found: Door | WeftError) => void }>();

  /**
   * Opens the gate to one generation's ring.
   *
   * @throws `already_exists` while this process is joining the same generation.
   */
  expect(place: RingPlace, token: string): Gate {
    return this.open('ring', place, (onClose) => new Gate(place, token, onClose));
  }

  /**
   * Opens a door of one generation: to its ring, or to its experts.
   *
   * @throws `already_exists` while this process has the same one open.
   */
  open<D extends Door>(purpose: Purpose, place: GenerationName, make: (onClose: () => void) => D): D {
    const key = doorKey(purpose, place);
    if (this.#doors.has(key))
      throw new WeftError('already_exists', `this process is already joining the ${purpose} of ${ringName(place)}`);
    const door = make(() => this.#doors.delete(key));
    this.#doors.set(key, door);
    this.#newest.set(place.runId, place.generation);
    for (const { hello, answer } of this.#waiting) {
      if (doorKey(purposeOf(hello), hello) === key) answer(door);
      else if (hello.runId === place.runId && hello.generation < place.generation) answer(overError(hello, place));
    }
    return door;
  }

  /**
   * Leads one arriving connection through the handshake to its gate, or refuses it.
   * @param isLocal it comes over a socket that only this machine reaches
   */
  async receive(wire: Wire, isLocal: boolean): Promise<void> {
    if (this.#callers.size >= MAX_CALLERS) return wire.destroy();
    this.#callers.add(wire);
    const timer = setTimeout(() => wire.destroy(), HANDSHAKE_MS);
    try {
      const hello = await greet(wire);
      clearTimeout(timer);
      const door = await this.#doorFor(hello, wire);
      door.admit(hello, wire, isLocal);
    } catch (thrown) {
      refuse(wire, WeftError.from(thrown));
      await settledWithin(wire.closed, HANG_UP_MS);
      wire.destroy();
    } finally {
      clearTimeout(timer);
      this.#callers.delete(wire);
    }
  }

  /** Hangs up on everybody who is still waiting. */
  close(): void {
    for (const wire of this.#callers) wire.destroy();
    for (const door of this.#doors.values()) door.close();
  }

  async #doorFor(hello: Hello, wire: Wire): Promise<Door> {
    const door = this.#doors.get(doorKey(purposeOf(hello), hello));
    if (door !== undefined) return door;
    const newest = this.#newest.get(hello.runId);
    if (newest !== undefined && hello.generation < newest) throw overError(hello, { generation: newest });
    const found = await new Promise<Door | WeftError>((resolve) => {
      const answer = (verdict: Door | WeftError) => {
        clearTimeout(timer);
        this.#waiting.delete(caller);
        resolve(verdict);
      };
      const giveUp = (message: string) => () => answer(new WeftError('unavailable', message));
      const timer = setTimeout(giveUp(`the called worker has not joined ${ringName(hello)}`), EARLY_CALLER_MS);
      const caller = { hello, answer };
      this.#waiting.add(caller);
      void wire.closed.then(giveUp('the caller hung up'));
    });
    if (found instanceof WeftError) throw found;
    return found;
  }
}

/** Lets in the connections of the next rank of one ring. */
export class Gate implements Door {
  /** Resolves when both connections are there. */
  readonly wires: Promise<NextWires>;
  readonly #place: RingPlace;
  readonly #token: string;
  readonly #onClose: () => void;
  readonly #admitted: Partial<{ data: Outlet; control: Wire }> = {};
  #complete: (wires: NextWires) => void = () => {};
  #done = false;

  constructor(place: RingPlace, token: string, onClose: () => void) {
    this.#place = place;
    this.#token = token;
    this.#onClose = onClose;
    this.wires = new Promise((resolve) => {
      this.#complete = resolve;
    });
  }

  admit(hello: Hello, wire: Wire, isLocal: boolean): void {
    const { rank, worldSize } = this.#place;
    const { next } = ringNeighbours(rank, worldSize);
    const refuse = (code: 'failed_precondition' | 'invalid_argument' | 'already_exists', message: string) => {
      throw new WeftError(code, `${message} in the ring of ${ringName(this.#place)}`);
    };
    if (!knowsToken(hello, this.#token)) refuse('failed_precondition', `rank ${hello.rank} does not know the token`);
    if (hello.worldSize !== worldSize)
      refuse(
        'invalid_argument',
        `rank ${hello.rank} counts ${hello.worldSize} ranks, rank ${rank} counts ${worldSize}`,
      );
    if (hello.rank !== next)
      refuse('invalid_argument', `rank ${hello.rank} called rank ${rank}, which waits for rank ${next}`);
    const link = hello.link === 'data' ? 'data' : 'control';
    if (this.#done || this.#admitted[link] !== undefined)
      refuse('already_exists', `rank ${hello.rank} has its ${link} connection already`);
    const offersMemory = isLocal && link === 'data' && hello.memory !== '';
    const pipe = offersMemory ? SharedPipe.open(hello.memory) : undefined;
    welcome(wire, hello, this.#token, pipe !== undefined);
    if (link === 'control') this.#admitted.control = wire;
    else this.#admitted.data = pipe === undefined ? wire : new SharedOutlet(wire, pipe);
    void wire.closed.then(() => {
      if (!this.#done) delete this.#admitted[link];
    });
    const { data, control } = this.#admitted;
    if (data === undefined || control === undefined) return;
    this.#done = true;
    this.#complete({ data, control });
  }

  /** Lets nobody in any more, and hangs up on those who came when the ring was not completed. */
  close(): void {
    if (!this.#done) for (const wire of Object.values(this.#admitted)) wire.destroy();
    this.#done = true;
    this.#onClose();
  }
}

type Purpose = 'ring' | 'experts';
type GenerationName = Pick<RingPlace, 'runId' | 'generation'>;

function purposeOf({ link }: Hello): Purpose {
  return link === 'experts' ? 'experts' : 'ring';
}

function doorKey(purpose: Purpose, { runId, generation }: GenerationName): string {
  return JSON.stringify([purpose, runId, generation]);
}

function overError(hello: Hello, { generation }: Pick<RingPlace, 'generation'>): WeftError {
  return new WeftError(
    'failed_precondition',
    `generation ${hello.generation} of run ${hello.runId} is over: the called worker is in generation ${generation}`,
    { cure: 'wait for the coordinator to assign a rank in the newest generation' },
  );
}
