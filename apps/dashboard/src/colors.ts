/** The colours of lines, readable on both grounds and to people who see red and green alike. */
const LINE_COLORS = [
  'var(--line-1)',
  'var(--line-2)',
  'var(--line-3)',
  'var(--line-4)',
  'var(--line-5)',
  'var(--line-6)',
  'var(--line-7)',
] as const;

export const lineColor = (index: number): string => LINE_COLORS[index % LINE_COLORS.length]!;

/** Takes on colours, because the value of a custom property is what was written, not what it comes to in light or dark. */
const probe = document.createElement('i');
probe.hidden = true;
document.documentElement.append(probe);

/** A colour as a canvas takes it, `rgb(…)`. @param color also `var(--name)` */
export function resolveColor(color: string): string {
  probe.style.color = color;
  return getComputedStyle(probe).color;
}

/** Red, green and blue of a resolved colour, from 0 to 255. */
export function channels(color: string): readonly number[] {
  return (color.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}

/** The same colour, more transparent. */
export const faded = (color: string, alpha: number): string => `rgba(${channels(color).join(', ')}, ${alpha})`;
