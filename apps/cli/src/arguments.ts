import { SOURCES, type Source } from '@weft/common';
import { InvalidArgumentError } from 'commander';

/** Parsers of single arguments; commander shows their sentences with the name of the option. */

/** A whole number of at least one. */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('It must be a whole number of at least 1.');
  return value;
}

/** A whole number, 0 too. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new InvalidArgumentError('It must be a whole number of at least 0.');
  return value;
}

/** `host:port`; IPv6 hosts in brackets. */
export function address(text: string): string {
  const port = Number(text.match(/^(?:\[[^\]]+\]|[^:\s]+):(\d+)$/)?.[1]);
  if (!(port >= 1 && port <= 65_535)) throw new InvalidArgumentError('It must be host:port, such as 127.0.0.1:7070.');
  return text;
}

/** One sequence of a source: `captioned:17`. */
export interface SequenceName {
  readonly source: Source;
  readonly index: number;
}

export function sequenceName(text: string): SequenceName {
  const [, name, index] = text.match(/^(\w+):(\d+)$/) ?? [];
  const source = SOURCES.find((each) => each === name);
  if (source === undefined || index === undefined)
    throw new InvalidArgumentError(
      `It must be one of ${SOURCES.join(', ')}, a colon and a number, such as captioned:0.`,
    );
  return { source, index: Number(index) };
}

/** Appends, so that `--set a=1 --set b=2` and `--set a=1 b=2` mean the same. */
export function collect(text: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), text];
}
