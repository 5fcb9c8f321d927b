import { mustBe, UsageError, wholeNumber } from '@weft/command-line';
import type { SourceId } from '@weft/common';
import type { Command } from 'commander';

// Parsers of single arguments that only the CLI has.

/** A whole number of at least one. */
export const positiveInteger = wholeNumber(1);

/** A whole number, negative ones too. */
export function integer(text: string): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value)) throw mustBe('an integer');
  return value;
}

/** GPUs of one kind: `8xh100`. */
export interface DevicesName {
  readonly count: number;
  readonly chip: string;
}

/** `<number>x<chip>`, such as `8xh100`. */
export function devicesName(text: string): DevicesName {
  const [, digits, chip] = text.match(/^(\d+)x([\w-]+)$/i) ?? [];
  if (digits === undefined || chip === undefined || Number(digits) < 1)
    throw mustBe('a number of at least 1, an x and a chip, such as 8xh100');
  return { count: Number(digits), chip: chip.toLowerCase() };
}

/** Devices of one host by their memory or by their chip: `8x80GiB`, `8xh100`; `1xcpu` is a worker on this machine. */
export interface PlannedDevices {
  readonly count: number;
  readonly memoryBytes?: number;
  readonly chip?: string;
}

/** What a dry run is planned for. */
export interface PlanOptions {
  readonly devices?: PlannedDevices;
  readonly hosts?: number;
  readonly chip?: string;
  /** Gbit/s of one host. */
  readonly network?: number;
  /** Of one device for an hour. */
  readonly price?: number;
  /** `false`: formulas alone, although the chip's compiler is there. */
  readonly compile?: boolean;
}

/** More are not in one host. */
const MOST_DEVICES = 1024;

/** `<number>x<memory>` or `<number>x<chip>`. */
export function plannedDevices(text: string): PlannedDevices {
  const [, digits, what = ''] = text.match(/^(\d+)x(.+)$/i) ?? [];
  const count = Number(digits);
  const [, amount, unit] = what.match(/^(\d+(?:\.\d+)?)(GiB|GB)$/i) ?? [];
  const memoryBytes = Number(amount) * (unit?.toLowerCase() === 'gib' ? 2 ** 30 : 1e9);
  const isChip = /^[a-z][\w-]*$/i.test(what);
  if (!(count >= 1 && count <= MOST_DEVICES && (memoryBytes > 0 || isChip)))
    throw mustBe(`a number from 1 to ${MOST_DEVICES}, an x and a memory or a chip, such as 8x80GiB or 8xh100`);
  return { count, ...(isChip ? { chip: what.toLowerCase() } : { memoryBytes }) };
}

/** One sequence of a source: `captioned:17`. */
export interface SequenceName {
  readonly source: SourceId;
  readonly index: number;
}

/** `source:i`, such as `captioned:17`. */
export function sequenceName(text: string): SequenceName {
  const [, source, index] = text.match(/^([\w-]+):(\d+)$/) ?? [];
  if (source === undefined || index === undefined)
    throw mustBe('the name of a source, a colon and a number, such as captioned:0');
  return { source, index: Number(index) };
}

/** Appends: `--set a=1 --set b=2` and `--set a=1 b=2` mean the same. */
export function collect(text: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), text];
}

/** Appends names between commas too: `--tasks a,b` and `--tasks a b` mean the same. */
export function collectList(text: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), ...text.split(',').filter((each) => each !== '')];
}

/** Whole numbers between commas: `0,4,8`. */
export function wholeNumbers(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw mustBe('whole numbers between commas, such as 0,4,8');
  return text.split(',').map(Number);
}

/** A value of an option that may come often, and when it came among all such values of the command line. */
export interface WrittenArgument {
  readonly order: number;
  readonly text: string;
}

let written = 0;

/** Appends, and remembers the order across options: `--image a.png --prompt x --image b.png`. */
export function collectInOrder(text: string, earlier: readonly WrittenArgument[] | undefined): WrittenArgument[] {
  return [...(earlier ?? []), { order: written++, text }];
}

/** Appends a step: `--step 20 40`. */
export function collectSteps(text: string, earlier: readonly number[] | undefined): number[] {
  return [...(earlier ?? []), wholeNumber(0)(text)];
}

/** A version of the data index. */
export function indexVersion(text: string): number | 'newest' {
  return text === 'newest' ? 'newest' : positiveInteger(text);
}

/** A number of at least 0, such as a temperature. */
export function atLeastZero(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && Number.isFinite(value))) throw mustBe('a number of at least 0');
  return value;
}

/** A probability above 0, at most 1. */
export function share(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1)) throw mustBe('a number above 0 and at most 1');
  return value;
}

const QUANTITY_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, B: 1e9, T: 1e12 };

/** A number of parameters or tokens as people write it: 30e9, 30B, 302M, 1200000000. */
export function quantity(text: string): number {
  const [, digits = '', unit = ''] = text.match(/^([\d.]+(?:e[+-]?\d+)?)\s*([kMBT]?)$/) ?? [];
  const value = Number(digits) * (QUANTITY_UNITS[unit] ?? Number.NaN);
  if (digits === '' || !(Number.isFinite(value) && value > 0))
    throw mustBe('a number above 0, such as 30e9, 30B or 302M');
  return value;
}

/** Appends: `--predict 1B 7B` and `--predict 1B --predict 7B` mean the same. */
export function quantities(text: string, earlier: readonly number[] | undefined): number[] {
  return [...(earlier ?? []), quantity(text)];
}

/** A probability such as 0.95. */
export function level(text: string): number {
  const value = Number(text);
  if (text === '' || !(value > 0 && value < 1)) throw mustBe('a number between 0 and 1');
  return value;
}

const TIME_UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `+90m`, or a time as `Date` reads it → ISO 8601 in UTC. */
function time(text: string): string {
  const [, amount, unit = ''] = text.match(/^\+(\d+(?:\.\d+)?)([smhd])$/) ?? [];
  const timeMs = amount === undefined ? Date.parse(text) : Date.now() + Number(amount) * (TIME_UNITS_MS[unit] ?? 0);
  if (Number.isNaN(timeMs)) throw mustBe('a time, such as +90m or 2026-11-24T01:00:00Z');
  return new Date(timeMs).toISOString();
}

/** How a launch queues: short for settings of `queue`. */
export interface QueueOptions {
  readonly priority?: number;
  readonly attempts?: number;
  readonly notBefore?: string;
}

/** Adds `--priority`, `--attempts` and `--not-before` to a command. */
export function addQueueOptions(command: Command): Command {
  return command
    .option('--priority <N>', 'short for --set queue.priority=N; higher starts first', integer)
    .option('--attempts <N>', 'short for --set queue.maxAttempts=N: how often it is tried when it fails', integer)
    .option('--not-before <time>', 'short for --set queue.notBefore=…, such as +2h or 2026-11-24T01:00:00Z', time);
}

/** The settings that the short options stand for. */
export function queueSettings({ priority, attempts, notBefore }: QueueOptions): string[] {
  return [
    ...(priority === undefined ? [] : [`queue.priority=${priority}`]),
    ...(attempts === undefined ? [] : [`queue.maxAttempts=${attempts}`]),
    ...(notBefore === undefined ? [] : [`queue.notBefore=${notBefore}`]),
  ];
}

/**
 * Refuses `--local` together with `--coordinator`. A coordinator from the environment is only a default and does not
 * conflict.
 *
 * @throws UsageError
 */
export function rejectConflicting({ local, coordinator }: { local?: number | true; coordinator?: string }): void {
  if (local !== undefined && coordinator !== undefined)
    throw new UsageError('--local starts a coordinator of its own, so --coordinator cannot be given with it');
}
