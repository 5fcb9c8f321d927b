import type { WeftError } from '@weft/common';

/** Where an image is stored: the bytes of a member of a tar shard, or of a file that is a shard by itself. */
export interface ImageLocation {
  /** Index of the shard among the shards of its source. */
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
  /** Which view of the picture: 0 is the whole one, others are the parts of `data.images.subImages`, row by row. */
  readonly view: number;
}

/**
 * A text, an image, or an end of text within a document. `isAnswer` is of conversations, where the loss counts answers and
 * their ends alone; elsewhere it counts every text.
 */
export type DocumentPart =
  | { readonly kind: 'text'; readonly text: string; readonly isAnswer?: boolean }
  | { readonly kind: 'image'; readonly image: ImageLocation; readonly name: string }
  | { readonly kind: 'end' };

/** Text and images in reading order. Long texts come in several parts, so a document need not fit in memory. */
export interface SourceDocument {
  /** Names the document in its shard: the key of its sample, or `line 3`; empty where the shard is the document. */
  readonly key: string;
  readonly parts: Iterable<DocumentPart> | AsyncIterable<DocumentPart>;
  /** Whether it is never continued in another sequence: what does not fit is left out. Default: false. */
  readonly isConversation?: boolean;
}

/** A sample that cannot be read, and why. */
export interface BadSample {
  /** As of a document. */
  readonly key: string;
  /** Names shard and sample. */
  readonly problem: WeftError;
}

/** The key of what cannot be read of a damaged shard. */
export const REST_OF_SHARD = 'the rest';

/** The longest text that is tokenized at once, in UTF-16 units. */
const LONGEST_TEXT_PART = 1 << 20;

/**
 * Splits a long text so that a tokenizer need not see all of it at once, where `cutBefore` says: the tokens of the parts are
 * those of the whole.
 */
export function* textParts(text: string): Generator<DocumentPart> {
  let start = 0;
  while (text.length - start > LONGEST_TEXT_PART) {
    const end = start + cutBefore(text.slice(start, start + LONGEST_TEXT_PART));
    yield { kind: 'text', text: text.slice(start, end) };
    start = end;
  }
  if (start < text.length) yield { kind: 'text', text: text.slice(start) };
}

/** So far back a place for a cut is looked for. */
const LONGEST_WORD = 1 << 16;
/** A space between words, which every tokenizer takes for the beginning of the second. */
const BETWEEN_WORDS = /^[^\s] \p{L}/u;

/**
 * Where the beginning of a longer text is cut: before its last space between two words, else after its last line end, else
 * at its end, but not within a character.
 */
export function cutBefore(text: string): number {
  for (let space = text.lastIndexOf(' ', text.length - 2); space > 0 && space > text.length - LONGEST_WORD; ) {
    if (BETWEEN_WORDS.test(text.slice(space - 1, space + 3))) return space;
    space = text.lastIndexOf(' ', space - 1);
  }
  const lineEnd = text.lastIndexOf('\n') + 1;
  if (lineEnd > 0) return lineEnd;
  return text.length > 1 && isHighSurrogate(text.charCodeAt(text.length - 1)) ? text.length - 1 : text.length;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}
