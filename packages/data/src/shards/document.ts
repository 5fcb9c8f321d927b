/** Where an image lies: the bytes of a member of a tar shard. */
export interface ImageLocation {
  /** The number of the shard among the shards of its source. */
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
}

export type DocumentPart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'image'; readonly image: ImageLocation; readonly name: string };

/** Text and images in reading order. Long texts come in several parts, so that no document must fit into memory. */
export interface SourceDocument {
  /** What errors call it: shard and sample, or shard and line. */
  readonly name: string;
  readonly parts: Iterable<DocumentPart> | AsyncIterable<DocumentPart>;
}

/** The most text that is tokenized at once, in UTF-16 units. */
const LONGEST_TEXT_PART = 1 << 20;

/** Cuts a long text behind line ends, where it has some, so that tokenizers need not see all of it at once. */
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
