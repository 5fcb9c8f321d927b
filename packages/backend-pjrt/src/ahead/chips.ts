import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { didYouMean, WeftError } from '@weft/common';

/** A kind of GPU that programs are compiled for. */
export interface Chip {
  /** "NVIDIA H100 80GB HBM3". */
  readonly name: string;
  readonly memoryBytes: number;
  /** Of dense matrix products. */
  readonly peakBf16TflopPerSecond: number;
  /** Of its vector units, a multiplication and an addition counted as two: what float32 products of full precision reach. */
  readonly peakFp32TflopPerSecond: number;
  readonly memoryBytesPerSecond: number;
  /** What it sends to the other GPUs of its host, in one direction. */
  readonly linkBytesPerSecond: number;
  /** What the plugin takes: XLA's `GpuTargetConfigProto` as text. */
  readonly targetConfig: string;
}

const FOLDER = new URL('../../chips/', import.meta.url);

/** The names of all chips, as `readChip` takes them. */
export function chipNames(): readonly string[] {
  const files = readdirSync(fileURLToPath(FOLDER)).filter((name) => name.endsWith('.txt'));
  return files.map((name) => name.slice(0, -'.txt'.length)).toSorted();
}

/** @throws WeftError `not_found` for an unknown name */
export function readChip(name: string): Chip {
  const known = chipNames();
  if (!known.includes(name)) {
    const meant = didYouMean(name, known);
    throw new WeftError('not_found', `there is no chip ${JSON.stringify(name)}`, {
      hint: meant === undefined ? `choose one of ${known.join(', ')}` : `write ${meant}, or one of ${known.join(', ')}`,
    });
  }
  return parseChip(`${name}.txt`, readFileSync(new URL(`${name}.txt`, FOLDER), 'utf8'));
}

/**
 * Reads the text of a chip: a target config, and before it the peak and the link, which XLA does not know.
 * @param file for messages
 * @throws WeftError `invalid_argument` naming the file and the field
 */
export function parseChip(file: string, text: string): Chip {
  const field = (name: string, pattern: string): string => {
    const found = new RegExp(`^\\s*${name}:\\s*(.*)$`, 'm').exec(text)?.[1];
    if (found === undefined) throw new WeftError('invalid_argument', `${file}: there is no field ${name}`);
    const value = new RegExp(`^${pattern}$`).exec(found.trim())?.[1];
    if (value === undefined)
      throw new WeftError('invalid_argument', `${file}: ${name} is ${found.trim()}, which it cannot be`);
    return value;
  };
  const number = (name: string) => Number(field(name, '(\\d+(?:\\.\\d+)?)'));
  return {
    name: field('device_description_str', '"([^"]+)"'),
    memoryBytes: number('device_memory_size'),
    peakBf16TflopPerSecond: number(PEAK),
    peakFp32TflopPerSecond: (2 * number('core_count') * number('fpus_per_core') * number('clock_rate_ghz')) / 1e3,
    memoryBytesPerSecond: number('memory_bandwidth'),
    linkBytesPerSecond: number(LINK) * 1e9,
    targetConfig: text
      .split('\n')
      .filter((line) => !line.startsWith('#') && !line.startsWith(PEAK) && !line.startsWith(LINK))
      .join('\n'),
  };
}

const PEAK = 'peak_bf16_tflop_per_second';
const LINK = 'link_gigabytes_per_second';
