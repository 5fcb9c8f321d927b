import { plural, WeftError } from '@weft/common';
import { type EvaluationTask, isChat, type RunConfig, viewsPerPicture } from '@weft/config';
import type { Tokenizer } from '@weft/data';
import type { Prompt } from '@weft/generation';
import type { Example, ImageFile } from './example.js';
import { drawShots, type FewShotPrompt, fewShotPrompt, type PromptPart } from './few-shot.js';
import type { OpenTask } from './open-tasks.js';

/** What prompts are made for. */
export interface PromptOptions {
  readonly config: Pick<RunConfig, 'model' | 'evaluation' | 'data'>;
  readonly tokenizer: Tokenizer;
}

/** Tokens of captions and answers, where the task does not say; a token of text has about five bytes. */
const ANSWER_TOKENS = { caption: 30, question: 10 };
const BYTES_PER_TOKEN = 5;
/** A short sequence keeps most of its positions for the prompt. */
const LARGEST_PART = 1 / 4;

/** Positions that an answer may take: of generated texts the most, of given ones the longest. */
export function answerTokens(
  { config, tokenizer }: PromptOptions,
  task: EvaluationTask,
  texts: readonly string[],
): number {
  if (!('maxTokens' in task)) return Math.max(...texts.map((text) => tokenizer.encode(text).length));
  const usual = ANSWER_TOKENS[task.kind] * (config.data.tokenizer === 'bytes' ? BYTES_PER_TOKEN : 1);
  return task.maxTokens ?? Math.max(1, Math.min(usual, Math.floor(LARGEST_PART * config.model.sequenceLength)));
}

/** The prompt of an example with so many shots, or as many as fit. @throws WeftError as `drawShots` and `fewShotPrompt` */
export function promptOf(
  options: PromptOptions,
  { name, task, pool }: OpenTask,
  example: Example,
  shots: number,
): FewShotPrompt {
  const { config, tokenizer } = options;
  const drawn = drawShots(example, pool, shots, name, config.evaluation.shotSeed);
  const { sequenceLength, connector } = config.model;
  const tokensOf = (text: string) => tokenizer.encode(text).length;
  const space = {
    sequenceLength,
    tokensPerImage: viewsPerPicture(config.data.images) * connector.tokensPerImage,
    tokensOf,
    chatTemplate: isChat(config.data) ? config.data.chatTemplate : undefined,
  };
  return fewShotPrompt(task, example, drawn, space, answerTokens(options, task, continuationsOf(example)));
}

/** The texts whose likelihood is asked for. */
export function continuationsOf(example: Example): readonly string[] {
  if (example.kind === 'multipleChoice') return example.choices;
  return example.kind === 'lastWord' ? [example.word] : [];
}

/** Examples whose prompts are tried before any model is run. */
const CHECKED = 100;

/** How many shots fit into prompts. */
export interface FittingShots {
  /** Of the numbers asked for, those that fit into some prompt. */
  readonly fitting: readonly number[];
  /** The most that fit into some prompt, of the largest number asked for. */
  readonly most: number;
}

/**
 * Makes the first prompts of a task, to find out what is wrong with it before a model is run, and how many shots fit.
 *
 * @throws WeftError as `promptOf`
 */
export function fittingShots(options: PromptOptions, open: OpenTask): FittingShots {
  const { shots } = options.config.evaluation;
  const examples = open.examples.slice(0, CHECKED);
  const most = Math.max(...examples.map((example) => promptOf(options, open, example, Math.max(...shots)).shots));
  return { fitting: shots.filter((each) => each <= most), most };
}

/** Why a number of shots is refused: its score would be that of fewer. */
export function tooManyShots({ config }: PromptOptions, task: string, shots: number, most: number): WeftError {
  const { sequenceLength } = config.model;
  return new WeftError(
    'invalid_argument',
    `${plural(shots, 'shot')} of the task ${task} fit in no prompt: model.sequenceLength is ${sequenceLength}`,
    {
      hint: `ask for at most ${plural(most, 'shot')}`,
    },
  );
}

/** A prompt for people: `<image>` stands for an image, `<end>` for an end of text. */
export function shownPrompt({ parts }: FewShotPrompt): string {
  return parts.map((part) => (part.kind === 'text' ? part.text : part.kind === 'image' ? '<image>' : '<end>')).join('');
}

/** A prompt without images. */
export function promptText({ parts }: FewShotPrompt): Prompt {
  return parts.flatMap((part) => (part.kind === 'text' ? [part] : []));
}

/** Files that stay in memory, so that an image of several prompts is read and encoded once. */
const KEPT_FILES = 256;

/** Reads the images of prompts. The same image is the same array, as long as it is kept. */
export class ImageBytes {
  readonly #kept = new Map<ImageFile, Promise<Uint8Array>>();

  async prompt(parts: readonly PromptPart[]): Promise<Prompt> {
    return Promise.all(
      parts.map(async (part) =>
        part.kind === 'image'
          ? ({ kind: 'image', bytes: await this.#read(part.image), name: part.image.name } as const)
          : part,
      ),
    );
  }

  #read(image: ImageFile): Promise<Uint8Array> {
    const bytes = this.#kept.get(image) ?? image.read();
    this.#kept.delete(image);
    this.#kept.set(image, bytes);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT_FILES && oldest !== undefined) this.#kept.delete(oldest);
    return bytes;
  }
}
