import { byteTokenizer } from './byte-tokenizer.js';
import { jsonTokenizer } from './json-tokenizer.js';

/** Text ⇄ token ids in [0, vocabularySize). */
export interface Tokenizer {
  /** Says which tokenizer this is, its content included; fit for a file name. */
  readonly name: string;
  readonly vocabularySize: number;
  /** Ends every document. */
  readonly endOfTextId: number;
  /** Fills positions that hold no text: images and padding. The model never looks at it. */
  readonly fillerId: number;
  /** Without special tokens added. */
  encode(text: string): Int32Array;
  /** Special tokens are left out; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>): string;
}

/**
 * @param tokenizer `bytes`, or the path of a `tokenizer.json`.
 * @throws `not_found` or `corrupt_data` naming the file.
 */
export async function openTokenizer(tokenizer: string): Promise<Tokenizer> {
  return tokenizer === 'bytes' ? byteTokenizer : jsonTokenizer(tokenizer);
}
