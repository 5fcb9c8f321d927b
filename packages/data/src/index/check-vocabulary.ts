import { WeftError } from '@weft/common';
import type { ModelConfig } from '@weft/config';

/** @throws `invalid_argument` when the model has no embedding for some token of the tokenizer. */
export function checkVocabulary(tokenizer: string, vocabularySize: number, model: ModelConfig): void {
  const { vocabularySize: modelSize } = model.decoder;
  if (modelSize < vocabularySize)
    throw new WeftError(
      'invalid_argument',
      `model.decoder.vocabularySize is ${modelSize}, but the tokenizer ${tokenizer} has ${vocabularySize} tokens`,
      { cure: `set model.decoder.vocabularySize to ${vocabularySize} or more` },
    );
}
