import { BYTE_VOCABULARY_SIZE } from '@weft/config';
import type { Tokenizer } from './tokenizer.js';

const END_OF_TEXT = 256;
const FILLER = 257;

/** The UTF-8 bytes themselves, then end of text (256), filler (257) and two ids kept free. */
export const byteTokenizer: Tokenizer = {
  name: 'bytes',
  vocabularySize: BYTE_VOCABULARY_SIZE,
  endOfTextId: END_OF_TEXT,
  fillerId: FILLER,
  encode: (text) => new Int32Array(Buffer.from(text, 'utf8')),
  decode: (ids) => Buffer.from([...ids].filter((id) => id >= 0 && id < 256)).toString('utf8'),
};
