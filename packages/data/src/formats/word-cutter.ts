import { isJsonObject, type JsonObject } from '@weft/common';

/** What stands for the space before a word. */
const WORD_START = '▁';
const BETWEEN_WORDS = new RegExp(`(?<=[^${WORD_START}])(?=${WORD_START})`, 'u');

/**
 * Cuts a text into words where no merge of a BPE model can join what the cut parts, because no token has the start of a word
 * behind another character. Models as Llama 2's merge over the whole text: cut into words it has the same tokens, and a word
 * that comes again is looked up.
 *
 * @param description of the whole tokenizer
 * @returns undefined for a model whose merges may cross words, or that splits texts itself
 */
export function wordCutter({
  model,
  pre_tokenizer: preTokenizer,
}: JsonObject): ((text: string) => string[]) | undefined {
  if (!isJsonObject(model) || model.type !== 'BPE' || !isJsonObject(model.vocab) || isJsonObject(preTokenizer))
    return undefined;
  if (model.ignore_merges === true || model.end_of_word_suffix || model.continuing_subword_prefix) return undefined;
  if (Object.keys(model.vocab).some((token) => BETWEEN_WORDS.test(token))) return undefined;
  return (text) => text.split(BETWEEN_WORDS);
}
