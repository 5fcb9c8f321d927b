import type { Tokenizer } from '@weft/data';

/** What a decoder writes for bytes that are no character, or not one yet. */
const INCOMPLETE = '\uFFFD';

/**
 * The text of one continuation as it comes, token by token. What it gives out is final: a character whose bytes span
 * several tokens comes when it is whole, and what may become a stop text is kept back until it is known.
 */
export class TextStream {
  readonly #tokenizer: Pick<Tokenizer, 'decode'>;
  readonly #stop: readonly string[];
  readonly #ids: number[] = [];
  /** Tokens before `#from` are done with; those up to `#decoded` only say what the next ones look like behind them. */
  #from = 0;
  #decoded = 0;
  #kept = '';
  /** Whether a stop text came. Nothing more may be added then. */
  stopped = false;

  /** @param stop texts that end the continuation; they are not part of it */
  constructor(tokenizer: Pick<Tokenizer, 'decode'>, stop: readonly string[]) {
    this.#tokenizer = tokenizer;
    this.#stop = stop.filter((text) => text !== '');
  }

  /** Adds a token, and returns what is certain since the last one. */
  add(id: number): string {
    this.#ids.push(id);
    const text = this.#decode();
    return text.endsWith(INCOMPLETE) ? '' : this.#release(text);
  }

  /** What was kept back, when nothing more comes. */
  end(): string {
    if (this.stopped) return '';
    const text = this.#release(this.#decode());
    const rest = this.#kept;
    this.#kept = '';
    return this.stopped ? text : text + rest;
  }

  /** The text of the tokens that were not decoded yet: a tokenizer may write a token differently at the beginning. */
  #decode(): string {
    const before = this.#tokenizer.decode(this.#ids.slice(this.#from, this.#decoded));
    return this.#tokenizer.decode(this.#ids.slice(this.#from)).slice(before.length);
  }

  #release(text: string): string {
    this.#from = this.#decoded;
    this.#decoded = this.#ids.length;
    this.#kept += text;
    const found = this.#stop.map((stop) => this.#kept.indexOf(stop)).filter((at) => at >= 0);
    this.stopped = found.length > 0;
    const end = this.stopped ? Math.min(...found) : this.#kept.length - this.#beginningOfStop();
    const released = this.#kept.slice(0, end);
    this.#kept = this.stopped ? '' : this.#kept.slice(end);
    return released;
  }

  /** How many characters at the end may be the beginning of a stop text. */
  #beginningOfStop(): number {
    const longest = Math.max(0, ...this.#stop.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, this.#kept.length); length > 0; length--) {
      const tail = this.#kept.slice(-length);
      if (this.#stop.some((stop) => stop.startsWith(tail))) return length;
    }
    return 0;
  }
}
