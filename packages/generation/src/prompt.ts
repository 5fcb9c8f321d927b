import { plural, WeftError } from '@weft/common';
import type { ChatTemplate } from '@weft/config';
import { type ChatTurn, chatPrompt, type Tokenizer } from '@weft/data';
import { itemAt } from '@weft/tensor';

/** An image of a prompt. */
export interface ImageSegment {
  readonly kind: 'image';
  /**
   * The bytes of a file of any common format. Prompts that share an image share this array: it is then encoded once, for
   * as long as somebody holds the array.
   */
  readonly bytes: Uint8Array;
  /** For messages: the file, or which image of which example it is. */
  readonly name: string;
}

/** A text, an image or, behind an earlier answer of a conversation, an end of text of a prompt. */
export type PromptSegment = { readonly kind: 'text'; readonly text: string } | ImageSegment | { readonly kind: 'end' };

/** Text and images in reading order, as one document of training without its end. */
export type Prompt = readonly PromptSegment[];

/** A prompt as what the user says, in the words of a chat template, up to where the model answers. */
export function asMessage(prompt: Prompt, template: ChatTemplate): Prompt {
  const content = prompt.flatMap((segment): ChatTurn<ImageSegment>['content'] => {
    if (segment.kind === 'end') return [];
    return segment.kind === 'text' ? [{ text: segment.text }] : [{ image: segment }];
  });
  return chatPrompt(template, [{ role: 'user', content }]).map((part) => (part.kind === 'image' ? part.image : part));
}

/** Where an image of a written prompt goes. */
const IMAGE_MARK = '<image>';

/**
 * A prompt as people write it: every mark `<image>` in the text stands for the next image. Without marks the images come
 * first.
 * @throws WeftError `invalid_argument` when there are other numbers of marks and images
 */
export function promptOf(text: string, images: readonly ImageSegment[]): Prompt {
  const [first = '', ...others] = text.split(IMAGE_MARK);
  const ofText = (part: string): Prompt => (part === '' ? [] : [{ kind: 'text', text: part }]);
  if (others.length === 0) return [...images, ...ofText(text)];
  if (others.length !== images.length)
    throw new WeftError(
      'invalid_argument',
      `the prompt has ${plural(others.length, `${IMAGE_MARK} mark`)}, but ${plural(images.length, 'image')} came with it`,
      { hint: `write one ${IMAGE_MARK} for each image, or none to put all images in front` },
    );
  return [...ofText(first), ...others.flatMap((part, i) => [itemAt(images, i), ...ofText(part)])];
}

/** A prompt as the model reads it. */
export interface EncodedPrompt {
  /**
   * At every position a token, or −1 − r where row r of the image tokens stands: with K tokens for all views of an image,
   * image i has rows i·K to (i + 1)·K − 1.
   */
  readonly positions: Int32Array;
  readonly images: readonly ImageSegment[];
}

/** What a model takes. */
export interface PromptLimits {
  readonly tokenizer: Tokenizer;
  /** Positions of an image, of all its views together. */
  readonly tokensPerImage: number;
  /** The most positions of prompt and continuation together: `model.sequenceLength`. */
  readonly sequenceLength: number;
}

/**
 * Turns a prompt into what stands at every position.
 * @param cutTo drops tokens and whole images from the beginning of a longer prompt; default: a longer one is refused
 * @throws WeftError `invalid_argument` for an empty or too long prompt
 */
export function encodePrompt(prompt: Prompt, limits: PromptLimits, cutTo?: number): EncodedPrompt {
  const { tokenizer, tokensPerImage, sequenceLength } = limits;
  const parts = prompt.map((segment) => {
    if (segment.kind === 'image') return new Int32Array(tokensPerImage);
    return segment.kind === 'text' ? tokenizer.encode(segment.text) : Int32Array.of(tokenizer.endOfTextId);
  });
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length === 0)
    throw new WeftError('invalid_argument', 'the prompt is empty', { hint: 'give it some text or an image' });
  if (cutTo === undefined && length > sequenceLength) {
    const count = prompt.filter(({ kind }) => kind === 'image').length;
    throw new WeftError(
      'invalid_argument',
      `the prompt takes ${length} positions (${plural(count, 'image')} of ${tokensPerImage} and ${length - count * tokensPerImage} of text), but model.sequenceLength is ${sequenceLength}`,
      { hint: 'shorten it, or let its beginning be cut off with --cut' },
    );
  }
  const { first, skip } = cutTo === undefined ? { first: 0, skip: 0 } : beginningAfterCut(prompt, parts, cutTo);
  const kept = prompt.slice(first);
  const positions: number[] = [];
  let imageRows = 0;
  for (const [i, part] of parts.slice(first).entries()) {
    if (kept[i]?.kind !== 'image') for (const id of part.subarray(i === 0 ? skip : 0)) positions.push(id);
    else for (let k = 0; k < tokensPerImage; k++) positions.push(-1 - imageRows++);
  }
  return { positions: Int32Array.from(positions), images: kept.filter((segment) => segment.kind === 'image') };
}

/** Where a prompt begins that has at most `cutTo` positions: never within an image. */
function beginningAfterCut(prompt: Prompt, parts: readonly Int32Array[], cutTo: number) {
  let excess = parts.reduce((sum, part) => sum + part.length, 0) - cutTo;
  for (const [first, part] of parts.entries()) {
    if (excess <= 0) return { first, skip: 0 };
    if (excess < part.length && prompt[first]?.kind === 'text') return { first, skip: excess };
    excess -= part.length;
  }
  throw new WeftError('invalid_argument', `cut to ${cutTo} positions, nothing of the prompt is left`);
}
