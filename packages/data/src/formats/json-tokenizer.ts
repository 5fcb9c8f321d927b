import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { isJsonObject, type JsonObject, systemErrorCode, WeftError } from '@weft/common';
import { isMissing } from '@weft/files';
import type { Tokenizer } from './tokenizer.js';
import { UnigramModel } from './unigram.js';

/** What stands for the space before a word. */
const WORD_START = '▁';
const BETWEEN_WORDS = new RegExp(`(?<=[^${WORD_START}])(?=${WORD_START})`, 'u');

/** Names of the end-of-text token in common tokenizers, most specific first. */
const END_OF_TEXT_NAMES = ['<|endoftext|>', '<|end_of_text|>', '</s>', '<eos>', '<|eos|>', '[EOS]', '[SEP]'];

/**
 * A Hugging Face `tokenizer.json`. The end-of-text token is `eos_token` of the `tokenizer_config.json` beside it, else the
 * first known name among its tokens. A special token that a text spells is text, as with `encode_special_tokens` of Python's
 * `tokenizers`.
 *
 * @throws WeftError `not_found` when the file is missing, `corrupt_data` when it is not a tokenizer or has no end-of-text
 * token
 */
export async function jsonTokenizer(path: string): Promise<Tokenizer> {
  const content = await readTokenizerFile(path);
  const description = parse(path, content);
  const configPath = join(dirname(path), 'tokenizer_config.json');
  const configContent = await readFile(configPath, 'utf8').catch((thrown: unknown) => {
    if (isMissing(thrown)) return '{}';
    throw WeftError.from(thrown);
  });
  const config = parse(configPath, configContent);
  let tokenizer: HuggingFaceTokenizer;
  try {
    tokenizer = libraryTokenizer(description, config);
  } catch (thrown) {
    throw new WeftError('corrupt_data', `${path} is not a tokenizer: ${WeftError.from(thrown).message}`, {
      cause: thrown,
    });
  }
  const vocabulary = tokenizer.get_vocab(true);
  const endOfTextId = findEndOfText(vocabulary, config);
  if (endOfTextId === undefined)
    throw new WeftError('corrupt_data', `${path} has no token that ends a text`, {
      hint: `put a tokenizer_config.json with "eos_token" beside it, or name a token ${END_OF_TEXT_NAMES[0]}`,
    });
  const spellsSpecial = specialTokenFinder(description);
  let ofText: HuggingFaceTokenizer | undefined;
  const hasCase = !lowercases(description.normalizer);
  const idsOf = (original: string): readonly unknown[] => {
    // JavaScript lowers the Σ that ends a word to ς, Python's tokenizers every one to σ.
    const text = hasCase ? original : original.replaceAll('Σ', 'σ');
    const ids: readonly unknown[] = tokenizer.encode(text, { add_special_tokens: false }).ids;
    if (!spellsSpecial(text, ids)) return ids;
    // Rare: the text spells a special token. It is text, so it is encoded as if there were no such tokens.
    ofText ??= libraryTokenizer(withoutSpecialTokens(description), config);
    return ofText.encode(text, { add_special_tokens: false }).ids;
  };
  const digest = createHash('sha256').update(content).update('\0').update(vocabularyRelevant(config)).digest('hex');
  return {
    name: `${basename(path, '.json').replace(/[^A-Za-z0-9_]+/g, '_')}_${digest.slice(0, 8)}`,
    vocabularySize: [...vocabulary.values()].reduce((largest, id) => Math.max(largest, id), -1) + 1,
    endOfTextId,
    padTokenId: endOfTextId,
    encode: (text) =>
      Int32Array.from(idsOf(text), (id: unknown) => {
        // What the vocabulary lacks comes as undefined or null where there is no token for the unknown.
        if (typeof id === 'number') return id;
        throw new WeftError('corrupt_data', `${path} has no token for a part of the text, and none for the unknown`);
      }),
    decode: (ids) => {
      const list = [...ids];
      // The library refuses an empty list.
      if (list.length === 0) return '';
      return tokenizer.decode(list, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
    },
  };
}

/** The library's Unigram lacks byte fallback, is quadratic in memory and overflows the stack on long texts: it gets ours. */
function libraryTokenizer(description: JsonObject, config: JsonObject): HuggingFaceTokenizer {
  const tokenizer = new HuggingFaceTokenizer(description, config);
  const model = UnigramModel.of(description);
  if (model !== undefined && tokenizer.model !== null) {
    tokenizer.model.encode = (texts: readonly string[]) => model.encode(texts);
    // Ours fuses what is unknown; the library would also fuse tokens for the unknown that a text spells.
    tokenizer.model.fuse_unk = false;
  }
  const cut = wordCutter(description);
  if (cut !== undefined && tokenizer.model !== null) {
    const encode = tokenizer.model.encode.bind(tokenizer.model);
    tokenizer.model.encode = (texts: readonly string[]) => encode(texts.flatMap(cut));
  }
  return tokenizer;
}

/**
 * Cuts a text into words where no merge of a BPE model can join what the cut parts, because no token has the start of a word
 * behind another character. Models as Llama 2's merge over the whole text: cut into words it has the same tokens, and a word
 * that comes again is looked up.
 *
 * @param description of the whole tokenizer
 * @returns undefined for a model whose merges may cross words, or that splits texts itself
 */
function wordCutter({ model, pre_tokenizer: preTokenizer }: JsonObject): ((text: string) => string[]) | undefined {
  if (!isJsonObject(model) || model.type !== 'BPE' || !isJsonObject(model.vocab) || isJsonObject(preTokenizer))
    return undefined;
  if (model.ignore_merges === true || model.end_of_word_suffix || model.continuing_subword_prefix) return undefined;
  if (Object.keys(model.vocab).some((token) => BETWEEN_WORDS.test(token))) return undefined;
  return (text) => text.split(BETWEEN_WORDS);
}

async function readTokenizerFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if (systemErrorCode(thrown) === 'EISDIR')
      throw new WeftError('invalid_argument', `the tokenizer ${path} is a folder`, {
        hint: 'set data.tokenizer to the tokenizer.json in it',
      });
    if (!isMissing(thrown)) throw WeftError.from(thrown);
    throw new WeftError('not_found', `the tokenizer ${path} does not exist`, {
      hint: 'set data.tokenizer to bytes, or to the path of a tokenizer.json',
    });
  }
}

function parse(path: string, content: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (thrown) {
    throw new WeftError('corrupt_data', `${path} is not JSON: ${WeftError.from(thrown).message}`);
  }
  if (!isJsonObject(value)) throw new WeftError('corrupt_data', `${path} does not hold a JSON object`);
  return value;
}

function addedTokens(description: JsonObject): readonly JsonObject[] {
  return Array.isArray(description.added_tokens) ? description.added_tokens.filter(isJsonObject) : [];
}

/** Whether a normalizer, or one of its sequence, makes text lowercase. */
function lowercases(normalizer: unknown): boolean {
  if (!isJsonObject(normalizer)) return false;
  const { type, normalizers } = normalizer;
  if (Array.isArray(normalizers)) return normalizers.some(lowercases);
  return type === 'Lowercase' || (type === 'BertNormalizer' && normalizer.lowercase !== false);
}

const specialTokens = (description: JsonObject) => addedTokens(description).filter(({ special }) => special === true);

/** Whether a text spells a special token, known by its id among those of the text. */
function specialTokenFinder(description: JsonObject): (text: string, ids: readonly unknown[]) => boolean {
  const { model } = description;
  const unknown = isJsonObject(model) ? model.unk_token : undefined;
  const ids = new Map(specialTokens(description).map(({ id, content }) => [id, content]));
  return (text, found) =>
    // The token for the unknown also stands for what a text holds.
    found.some((id) => ids.has(id) && (ids.get(id) !== unknown || text.includes(String(unknown))));
}

function withoutSpecialTokens(description: JsonObject): JsonObject {
  return { ...description, added_tokens: addedTokens(description).filter(({ special }) => special !== true) };
}

function findEndOfText(vocabulary: ReadonlyMap<string, number>, config: JsonObject): number | undefined {
  const named = endOfTextName(config);
  if (named !== undefined) return vocabulary.get(named);
  const known = END_OF_TEXT_NAMES.find((name) => vocabulary.has(name));
  return known === undefined ? undefined : vocabulary.get(known);
}

/** Either the token itself, or an object that describes it. */
function endOfTextName(config: JsonObject): string | undefined {
  const value = config.eos_token;
  if (typeof value === 'string') return value;
  return isJsonObject(value) && typeof value.content === 'string' ? value.content : undefined;
}

/** The configuration changes tokens too (`eos_token`, `add_prefix_space`, …), so it is part of the name. */
function vocabularyRelevant(config: JsonObject): string {
  return JSON.stringify(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
}
