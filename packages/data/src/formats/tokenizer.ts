import { BYTE_VOCABULARY_SIZE } from '@weft/config';

/** Converts text to token ids in [0, vocabularySize) and back. */
export interface Tokenizer {
  /** Identifies the tokenizer including its content; fit for a file name. */
  readonly name: string;
  readonly vocabularySize: number;
  /** The token after the last text of every document. */
  readonly endOfTextId: number;
  /** Stands at positions without text: images and padding. The model masks these positions. */
  readonly padTokenId: number;
  /** Adds no special tokens. */
  encode(text: string): Int32Array;
  /** Leaves special tokens out; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>): string;
}

const END_OF_TEXT_ID = 256;
const PAD_TOKEN_ID = 257;

/** Token ids are the UTF-8 bytes; 256 ends a text, 257 pads, 258 and 259 are unused. */
export const byteTokenizer: Tokenizer = {
  name: 'bytes',
  vocabularySize: BYTE_VOCABULARY_SIZE,
  endOfTextId: END_OF_TEXT_ID,
  padTokenId: PAD_TOKEN_ID,
  encode: (text) => new Int32Array(Buffer.from(text, 'utf8')),
  decode: (ids) => Buffer.from([...ids].filter((id) => id >= 0 && id < 256)).toString('utf8'),
};
