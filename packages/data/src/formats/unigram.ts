import { isJsonObject, type JsonObject } from '@weft/common';

/** What an unknown character costs beside the least likely token. */
const UNKNOWN_PENALTY = 10;
/** Words whose tokens are kept; the memory is emptied when it is full. */
const MOST_WORDS = 1 << 16;
/** Longer words are rarely met again. */
const LONGEST_KEPT_WORD = 64;
/** UTF-16 units, the keys of an edge of the trie. */
const UNITS = 0x10000;

/**
 * The Unigram model of a `tokenizer.json`: of all ways to cut a text into tokens the likeliest, as Python's `tokenizers` and
 * SentencePiece find it. In linear time and without recursion. Characters that no token covers become the tokens of their
 * bytes where the model has `byte_fallback` and all 256 of them, else one unknown token for as many as follow one another.
 */
export class UnigramModel {
  readonly #scores: Float64Array;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #unknownScore: number;
  readonly #unknownId: number | undefined;
  readonly #byteTokens: readonly string[] | undefined;
  readonly #wordStart: string | undefined;
  /** Node of the trie and next unit → next node; the token that ends in a node. */
  readonly #edges = new Map<number, number>();
  readonly #tokenOf: number[] = [-1];
  readonly #kept = new Map<string, readonly string[]>();

  /**
   * @param description of the whole tokenizer
   * @returns undefined for another model
   */
  static of({ model, pre_tokenizer: preTokenizer }: JsonObject): UnigramModel | undefined {
    if (!isJsonObject(model) || !Array.isArray(model.vocab)) return undefined;
    if (model.type !== undefined && model.type !== 'Unigram') return undefined;
    const vocabulary: readonly unknown[] = model.vocab;
    if (!vocabulary.every(isScored)) return undefined;
    const unknownId = typeof model.unk_id === 'number' ? model.unk_id : undefined;
    return new UnigramModel(vocabulary, unknownId, model.byte_fallback === true, wordStart(preTokenizer));
  }

  private constructor(
    vocabulary: readonly (readonly [token: string, score: number])[],
    unknownId: number | undefined,
    hasByteFallback: boolean,
    wordStart: string | undefined,
  ) {
    this.#scores = Float64Array.from(vocabulary, ([, score]) => score);
    this.#unknownScore = this.#scores.reduce((least, score) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
    this.#unknownId = unknownId;
    this.#wordStart = wordStart;
    this.#ids = new Map(vocabulary.map(([token], id) => [token, id]));
    for (const [token, id] of this.#ids) this.#plant(token, id);
    const bytes = Array.from({ length: 256 }, (_, byte) => byteToken(byte));
    this.#byteTokens = hasByteFallback && bytes.every((token) => this.#ids.has(token)) ? bytes : undefined;
  }

  /** The tokens of texts that were normalized and split. What is unknown stands for itself. */
  encode(texts: readonly string[]): string[] {
    const tokens: string[] = [];
    for (const text of texts)
      for (const word of this.#words(text)) for (const token of this.#cut(word)) tokens.push(token);
    return tokens;
  }

  /** A text cut before every sign that begins a word: no token reaches over it. */
  *#words(text: string): Generator<string> {
    const sign = this.#wordStart;
    if (sign === undefined) {
      yield text;
      return;
    }
    for (let start = 0; start < text.length; ) {
      const next = text.indexOf(sign, start + 1);
      const end = next === -1 ? text.length : next;
      yield text.slice(start, end);
      start = end;
    }
  }

  #cut(word: string): readonly string[] {
    const known = this.#kept.get(word);
    if (known !== undefined) return known;
    const tokens = this.#likeliest(word);
    if (word.length > LONGEST_KEPT_WORD) return tokens;
    if (this.#kept.size >= MOST_WORDS) this.#kept.clear();
    this.#kept.set(word, tokens);
    return tokens;
  }

  /** Viterbi: the best way to every position, from the best ways to those before it. */
  #likeliest(text: string): readonly string[] {
    const scores = new Float64Array(text.length + 1);
    const starts = new Int32Array(text.length + 1).fill(-1);
    const ids = new Int32Array(text.length + 1).fill(-1);
    const offer = (end: number, start: number, id: number, score: number) => {
      if (starts[end] !== -1 && score <= scores[end]!) return;
      scores[end] = score;
      starts[end] = start;
      ids[end] = id;
    };
    for (let start = 0; start < text.length; ) {
      const score = scores[start]!;
      const character = start + characterUnits(text, start);
      let hasCharacter = false;
      let node = 0;
      for (let end = start; end < text.length; ) {
        const next = this.#edges.get(node * UNITS + text.charCodeAt(end));
        if (next === undefined) break;
        node = next;
        end++;
        const id = this.#tokenOf[node]!;
        if (id === -1) continue;
        offer(end, start, id, score + this.#scores[id]!);
        hasCharacter ||= end === character;
      }
      if (!hasCharacter) offer(character, start, this.#unknownId ?? -1, score + this.#unknownScore);
      start = character;
    }
    return this.#walkBack(text, starts, ids);
  }

  #walkBack(text: string, starts: Int32Array, ids: Int32Array): readonly string[] {
    const tokens: string[] = [];
    let unknownEnd = -1;
    let end = text.length;
    const endUnknown = () => {
      if (unknownEnd !== -1)
        for (const token of this.#unknown(text.slice(end, unknownEnd)).reverse()) tokens.push(token);
      unknownEnd = -1;
    };
    while (end > 0) {
      const start = starts[end]!;
      const isUnknown = ids[end] === (this.#unknownId ?? -1);
      if (!isUnknown) {
        endUnknown();
        tokens.push(text.slice(start, end));
      } else if (unknownEnd === -1) unknownEnd = end;
      end = start;
    }
    endUnknown();
    return tokens.reverse();
  }

  /** A piece that is no token, or the token for the unknown as a text spells it. */
  #unknown(text: string): string[] {
    if (this.#byteTokens === undefined || this.#ids.has(text)) return [text];
    const tokens: string[] = [];
    for (const byte of Buffer.from(text, 'utf8')) tokens.push(this.#byteTokens[byte]!);
    return tokens;
  }

  #plant(token: string, id: number): void {
    let node = 0;
    for (let i = 0; i < token.length; i++) {
      const edge = node * UNITS + token.charCodeAt(i);
      let next = this.#edges.get(edge);
      if (next === undefined) {
        next = this.#tokenOf.push(-1) - 1;
        this.#edges.set(edge, next);
      }
      node = next;
    }
    if (node !== 0) this.#tokenOf[node] = id;
  }
}

function isScored(entry: unknown): entry is readonly [string, number] {
  return Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'number';
}

const byteToken = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;

/** 2 for a character beyond U+FFFF. */
function characterUnits(text: string, at: number): number {
  return text.codePointAt(at)! > 0xffff ? 2 : 1;
}

/** The sign that stands for a space before a word, where the tokenizer splits there: of `Metaspace`, alone or in a sequence. */
function wordStart(preTokenizer: unknown): string | undefined {
  if (!isJsonObject(preTokenizer)) return undefined;
  if (preTokenizer.type === 'Sequence' && Array.isArray(preTokenizer.pretokenizers))
    return preTokenizer.pretokenizers.map(wordStart).find((sign) => sign !== undefined);
  if (preTokenizer.type !== 'Metaspace' || preTokenizer.split === false) return undefined;
  return typeof preTokenizer.replacement === 'string' && preTokenizer.replacement !== ''
    ? preTokenizer.replacement
    : '▁';
}
