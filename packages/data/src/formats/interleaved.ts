import { isJsonObject, type JsonObject } from '@weft/common';

/** A text, or an image by the names under which it may be found, in this order. */
export type InterleavedPart = { readonly text: string } | { readonly image: readonly string[] };

/**
 * The parts of an interleaved document in reading order, or what is wrong with it. Forms:
 * - OBELICS, and ours: the lists `texts` and `images` of one length, one of both null at each index. An image is a name or a URL.
 * - MMC4: `text_list`, and `image_info` with `image_name`, else `raw_url`. An image stands before the text of its
 *   `matched_text_index`; several before one text in the order of the list.
 */
export function interleavedParts(value: unknown): readonly InterleavedPart[] | string {
  const fields: JsonObject = isJsonObject(value) ? value : {};
  if (Array.isArray(fields.text_list)) return matchedParts(fields.text_list, fields.image_info);
  const { texts, images } = fields;
  if (!Array.isArray(texts) || !Array.isArray(images) || texts.length !== images.length)
    return 'conversations' in fields || 'messages' in fields
      ? 'has no lists "texts" and "images" of one length; it looks like LLaVA, a conversation'
      : 'has no lists "texts" and "images" of one length';
  const parts: InterleavedPart[] = [];
  for (const [index, text] of (texts as readonly unknown[]).entries()) {
    const image: unknown = images[index] ?? null;
    if (typeof text === 'string' && image === null) parts.push({ text });
    else if ((text ?? null) === null && typeof image === 'string') parts.push({ image: [image] });
    else return `has at index ${index} neither a text alone nor an image alone`;
  }
  return parts;
}

function matchedParts(texts: readonly unknown[], images: unknown): readonly InterleavedPart[] | string {
  const wrongText = texts.findIndex((text) => typeof text !== 'string');
  if (wrongText !== -1) return `(MMC4) has at index ${wrongText} of "text_list" no text`;
  if (!Array.isArray(images)) return '(MMC4) has no list "image_info"';
  const before = texts.map((): InterleavedPart[] => []);
  for (const [index, image] of images.entries()) {
    const fields = isJsonObject(image) ? image : {};
    const names = [fields.image_name, fields.raw_url].filter((name) => typeof name === 'string');
    const place = before[Number(fields.matched_text_index)];
    if (names.length === 0) return `(MMC4) has at index ${index} of "image_info" no "image_name"`;
    if (place === undefined)
      return `(MMC4) has at index ${index} of "image_info" no "matched_text_index" from 0 to ${texts.length - 1}`;
    place.push({ image: names });
  }
  return texts.flatMap((text, index) => [...(before[index] ?? []), { text: String(text) }]);
}

/** What to do with a document that has no form that is read. */
export const INTERLEAVED_HINT =
  'write the lists "texts" and "images" of one length, one of both null at each index; conversations belong to a source of kind conversations';
