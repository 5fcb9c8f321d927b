import { PLOT_AREA } from './svg.js';

/** A rectangle in pixels; y grows downwards. */
export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Where a label is drawn. */
export interface LabelPosition {
  readonly x: number;
  /** Of the baseline. */
  readonly y: number;
  readonly anchor: 'start' | 'end';
  readonly box: Box;
}

/** Of the font at 13 pixels; an upper estimate. */
const CHARACTER_WIDTH = 8;
const [ASCENT, DESCENT] = [11, 3];
/** Between mark and label, horizontally. */
const DISTANCE = 10;
/** Baselines below and above the mark, nearest first. */
const BELOW = [18, 34, 50, 66, 82] as const;
const ABOVE = [-10, -26, -42, -58, -74] as const;

/**
 * Finds a position for the label of a mark inside the plot area that overlaps nothing drawn already. Tries below left and
 * above right first, where a falling line does not pass, then the other sides. When all positions overlap something, the
 * first one inside the area is used.
 */
export function positionLabel(text: string, x: number, y: number, occupied: readonly Box[]): LabelPosition {
  const at = (anchor: 'start' | 'end') => (below: number) => labelAt(text, x, y + below, anchor);
  const positions = [BELOW.map(at('end')), ABOVE.map(at('start')), ABOVE.map(at('end')), BELOW.map(at('start'))].flat();
  const inside = positions.filter(({ box }) => isInside(box));
  const [first = labelAt(text, x, y + BELOW[0], 'end')] = inside;
  return inside.find(({ box }) => !occupied.some((other) => overlap(box, other))) ?? first;
}

function labelAt(text: string, markX: number, y: number, anchor: 'start' | 'end'): LabelPosition {
  const width = text.length * CHARACTER_WIDTH;
  const x = anchor === 'start' ? markX + DISTANCE : markX - DISTANCE;
  const left = anchor === 'start' ? x : x - width;
  return { x, y, anchor, box: { left, right: left + width, top: y - ASCENT, bottom: y + DESCENT } };
}

const isInside = ({ left, right, top, bottom }: Box) =>
  left >= PLOT_AREA.left && right <= PLOT_AREA.right && top >= PLOT_AREA.top && bottom <= PLOT_AREA.bottom;

const overlap = (a: Box, b: Box) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
