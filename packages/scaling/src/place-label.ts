import { FRAME } from './paper.js';

/** A rectangle on paper, in pixels; y grows downwards. */
export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface LabelPlace {
  readonly x: number;
  /** Of the baseline. */
  readonly y: number;
  readonly anchor: 'start' | 'end';
  readonly box: Box;
}

/** Of the font at 13 pixels, rather too wide than too narrow. */
const CHARACTER_WIDTH = 8;
const [ASCENT, DESCENT] = [11, 3];
const ASIDE = 10;
/** Baselines below (or above) the mark that are tried, the nearest first. */
const BELOW = [18, 34, 50, 66, 82] as const;
const ABOVE = [-10, -26, -42, -58, -74] as const;

/**
 * Where the label of a mark lies inside the frame without covering what is drawn already: below on its left or above on
 * its right, which is where a falling line is not; then the other sides. Where all is taken, on the first of these.
 */
export function placeLabel(text: string, x: number, y: number, taken: readonly Box[]): LabelPlace {
  const at = (side: 'start' | 'end') => (below: number) => placeOf(text, x, y + below, side);
  const places = [BELOW.map(at('end')), ABOVE.map(at('start')), ABOVE.map(at('end')), BELOW.map(at('start'))].flat();
  const inside = places.filter(({ box }) => isInside(box));
  const [first = placeOf(text, x, y + BELOW[0], 'end')] = inside;
  return inside.find(({ box }) => !taken.some((other) => overlap(box, other))) ?? first;
}

function placeOf(text: string, markX: number, y: number, anchor: 'start' | 'end'): LabelPlace {
  const width = text.length * CHARACTER_WIDTH;
  const x = anchor === 'start' ? markX + ASIDE : markX - ASIDE;
  const left = anchor === 'start' ? x : x - width;
  return { x, y, anchor, box: { left, right: left + width, top: y - ASCENT, bottom: y + DESCENT } };
}

const isInside = ({ left, right, top, bottom }: Box) =>
  left >= FRAME.left && right <= FRAME.right && top >= FRAME.top && bottom <= FRAME.bottom;

const overlap = (a: Box, b: Box) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
