import { WeftError } from '@weft/common';
import { type DataConfig, DEFAULT_TASK, type ModelConfig, type TaskConfig } from '@weft/config';
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
  task = DEFAULT_TASK,
}: {
  readonly data: DataConfig;
  readonly model: ModelConfig;
  readonly task?: TaskConfig;
}): Promise<Tokenizer> {
  const tokenizer = await openTokenizer(data.tokenizer);
  const { name, vocabularySize } = tokenizer;
  // Of a task that predicts patches nothing reads the tokens of captions.
  if (task.kind === 'reconstructive') return tokenizer;
  const [field, modelSize] =
    task.kind === 'contrastive'
      ? ['task.text.vocabularySize', task.text.vocabularySize]
      : ['model.decoder.vocabularySize', model.decoder.vocabularySize];
  if (modelSize < vocabularySize)
    throw new WeftError(
      'invalid_argument',
      `${field} is ${modelSize}, but the tokenizer ${name} has ${vocabularySize} tokens`,
      { hint: `set ${field} to ${vocabularySize} or more` },
    );
  return tokenizer;
}
