import type { SegmentContents, SequenceContents } from '@weft/contracts';
import { type Line, span } from '../styled-lines.js';

/** Of each text, where it is shown in short. */
const SHORT_CHARACTERS = 160;

/** A packed sequence for the eye: where each of its documents comes from, and what it says. @param isShort without the rest of long texts */
export function renderContents(
  { source, index, positions, capacity, segments }: SequenceContents,
  isShort: boolean,
): Line[] {
  return [
    [span(`${source}:${index}`, 'bold'), span(`  ${positions} of ${capacity} positions`)],
    ...segments.flatMap((segment) => renderSegment(source, segment, isShort)),
  ];
}

function renderSegment(source: string, segment: SegmentContents, isShort: boolean): Line[] {
  const { document, part, shard, key, images = [] } = segment;
  const from = shard === undefined ? '' : `${source}/${shard}${key === undefined || key === '' ? '' : ` ${key}`}`;
  const where = [from, `document ${document}`, part === 0 ? '' : `part ${part + 1}`].filter((each) => each !== '');
  let image = 0;
  const text = segment.pieces
    .map((piece) => ('text' in piece ? piece.text : `⟨image ${piece.image + 1}: ${images[image++] ?? ''}⟩`))
    .join('')
    .replaceAll(/\s+/g, ' ')
    .trim();
  const characters = Array.from(text);
  const shown =
    isShort && characters.length > SHORT_CHARACTERS ? `${characters.slice(0, SHORT_CHARACTERS).join('')} …` : text;
  return [[span(`  ${where.join(', ')}`, 'dim')], [span(`    ${shown}`)]];
}
