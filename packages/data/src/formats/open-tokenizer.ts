import { WeftError } from '@weft/common';
import type { DataConfig, ModelConfig } from '@weft/config';
import { jsonTokenizer } from './json-tokenizer.js';
import { byteTokenizer, type Tokenizer } from './tokenizer.js';

/**
 * @param tokenizer `bytes`, or the path of a `tokenizer.json`
 * @throws WeftError `not_found` or `corrupt_data`, naming the file
 */
export async function openTokenizer(tokenizer: string): Promise<Tokenizer> {
  return tokenizer === 'bytes' ? byteTokenizer : jsonTokenizer(tokenizer);
}

/**
 * The tokenizer of a run, checked against the vocabulary of its model.
 *
 * @throws WeftError like `openTokenizer`; `invalid_argument` when the model lacks an embedding for some token
 */
export async function openRunTokenizer({
  data,
  model,
}: {
  readonly data: DataConfig;
  readonly model: ModelConfig;
}): Promise<Tokenizer> {
  const tokenizer = await openTokenizer(data.tokenizer);
  const { name, vocabularySize } = tokenizer;
  const { vocabularySize: modelSize } = model.decoder;
  if (modelSize < vocabularySize)
    throw new WeftError(
      'invalid_argument',
      `model.decoder.vocabularySize is ${modelSize}, but the tokenizer ${name} has ${vocabularySize} tokens`,
      { hint: `set model.decoder.vocabularySize to ${vocabularySize} or more` },
    );
  return tokenizer;
}
