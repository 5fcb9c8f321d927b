/** Where an image is stored: the bytes of a member of a tar shard. */
export interface ImageLocation {
  /** Index of the shard among the shards of its source. */
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
}

/** A text or an image of a document. */
export type DocumentPart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'image'; readonly image: ImageLocation; readonly name: string };

/** Text and images in reading order. Long texts come in several parts, so a document need not fit in memory. */
export interface SourceDocument {
  /** Names the document in error messages: shard and sample, or shard and line. */
  readonly name: string;
  readonly parts: Iterable<DocumentPart> | AsyncIterable<DocumentPart>;
}

/** The longest text that is tokenized at once, in UTF-16 units. */
const LONGEST_TEXT_PART = 1 << 20;

/** Splits a long text after line ends where it has any, so that a tokenizer need not see all of it at once. */
export function* textParts(text: string): Generator<DocumentPart> {
  let start = 0;
  while (text.length - start > LONGEST_TEXT_PART) {
    const lineEnd = text.lastIndexOf('\n', start + LONGEST_TEXT_PART - 1);
    let end = lineEnd > start ? lineEnd + 1 : start + LONGEST_TEXT_PART;
    if (isHighSurrogate(text.charCodeAt(end - 1))) end--;
    yield { kind: 'text', text: text.slice(start, end) };
    start = end;
  }
  if (start < text.length) yield { kind: 'text', text: text.slice(start) };
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}
