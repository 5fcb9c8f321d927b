import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { bytes, isJsonObject, WeftError } from '@weft/common';
import { LARGEST_MEMBER_BYTES } from '@weft/data';
import { isMissing } from '@weft/files';
import { type ImageSegment, type Prompt, promptOf } from '@weft/generation';

/** A text or the file of an image, in the order in which they were written. */
export type WrittenSegment =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'image'; readonly path: string };

/**
 * Reads the images of a prompt. Where a text has marks `<image>`, all images go there; otherwise everything stays in its
 * order.
 * @throws WeftError `not_found` for a missing image, `invalid_argument` for other numbers of marks and images
 */
export async function readPrompt(written: readonly WrittenSegment[]): Promise<Prompt> {
  const segments = await Promise.all(
    written.map(async (segment) => (segment.kind === 'text' ? segment : readImage(segment.path))),
  );
  const images = segments.filter((segment): segment is ImageSegment => segment.kind === 'image');
  const texts = segments.flatMap((segment) => (segment.kind === 'text' ? [segment.text] : []));
  return texts.some((text) => text.includes('<image>')) ? promptOf(texts.join(''), images) : segments;
}

/**
 * Reads the file of an image; whether it is one is seen when it is decoded.
 * @throws WeftError `not_found` for a missing file, `invalid_argument` for a folder or a file that is too large
 */
async function readImage(path: string): Promise<ImageSegment> {
  try {
    const { size } = await stat(path);
    if (size > LARGEST_MEMBER_BYTES)
      throw new WeftError(
        'invalid_argument',
        `the image ${path} has ${bytes(size)}, but an image may have ${bytes(LARGEST_MEMBER_BYTES)}`,
      );
    return { kind: 'image', bytes: await readFile(path), name: path };
  } catch (thrown) {
    if (isMissing(thrown)) throw new WeftError('not_found', `the image ${path} does not exist`, { cause: thrown });
    const error = WeftError.from(thrown);
    throw new WeftError('invalid_argument', `the image ${path} cannot be read: ${error.message}`, { cause: thrown });
  }
}

/** One line of a batch. */
export interface BatchLine {
  /** Given back with the answer; undefined: the line has none. */
  readonly id: unknown;
  readonly prompt: readonly WrittenSegment[];
}

/**
 * Reads a line such as `{"id": 7, "prompt": "<image>What is it?", "images": ["a.png"]}`. Instead of a text, `prompt` may
 * be a list of texts and images, `["Look: ", {"image": "a.png"}]`.
 * @param folder where paths of images start
 * @throws WeftError `invalid_argument` saying what is wrong with the line
 */
export function parseBatchLine(line: string, folder: string): BatchLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new WeftError('invalid_argument', 'it is not JSON');
  }
  if (!isJsonObject(value)) throw new WeftError('invalid_argument', 'it is not a JSON object');
  const { id, prompt, images = [], ...others } = value;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new WeftError(
      'invalid_argument',
      `it has a field ${JSON.stringify(unknown)}; known are id, prompt and images`,
    );
  const image = (path: unknown): WrittenSegment => {
    if (typeof path !== 'string' || path === '')
      throw new WeftError('invalid_argument', `${JSON.stringify(path)} is not the path of an image`);
    return { kind: 'image', path: isAbsolute(path) ? path : join(folder, path) };
  };
  if (!Array.isArray(images)) throw new WeftError('invalid_argument', '"images" is not a list of paths');
  if (typeof prompt === 'string') return { id, prompt: [...images.map(image), { kind: 'text', text: prompt }] };
  if (!Array.isArray(prompt))
    throw new WeftError('invalid_argument', '"prompt" is neither a text nor a list of texts and images');
  const segments = prompt.map((part: unknown): WrittenSegment => {
    if (typeof part === 'string') return { kind: 'text', text: part };
    if (isJsonObject(part) && Object.keys(part).join() === 'image') return image(part.image);
    throw new WeftError(
      'invalid_argument',
      `${JSON.stringify(part)} in "prompt" is neither a text nor {"image": "<path>"}`,
    );
  });
  return { id, prompt: [...images.map(image), ...segments] };
}
