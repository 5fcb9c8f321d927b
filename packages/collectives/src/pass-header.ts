import { assertNever, WeftError } from '@weft/common';

/** What travels before the bytes of every pass, so that ranks that disagree say so instead of mixing their data. */
export interface PassHeader {
  readonly operation: Operation;
  /** 1 for the first pass of the group. */
  readonly pass: number;
  /** Values of an all-reduce or reduce-scatter, bytes of a broadcast, 0 where lengths need not agree. */
  readonly length: number;
  /** Of a broadcast; 0 elsewhere. */
  readonly root: number;
}

const OPERATIONS = ['all-reduce', 'reduce-scatter', 'all-gather', 'broadcast', 'barrier'] as const;
export type Operation = (typeof OPERATIONS)[number];

export const PASS_HEADER_BYTES = 32;
const MAGIC = 0x53534150; // "PASS"

export function encodePassHeader(header: PassHeader): Uint8Array {
  const bytes = Buffer.alloc(PASS_HEADER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(OPERATIONS.indexOf(header.operation), 4);
  bytes.writeDoubleLE(header.pass, 8);
  bytes.writeDoubleLE(header.length, 16);
  bytes.writeDoubleLE(header.root, 24);
  return bytes;
}

export function decodePassHeader(bytes: Uint8Array): PassHeader {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, PASS_HEADER_BYTES);
  const operation = OPERATIONS[header.readUInt32LE(4)];
  if (header.readUInt32LE(0) !== MAGIC || operation === undefined)
    throw new WeftError('corrupt_data', 'the previous rank of the ring sent bytes that start no operation');
  return {
    operation,
    pass: header.readDoubleLE(8),
    length: header.readDoubleLE(16),
    root: header.readDoubleLE(24),
  };
}

/**
 * Checks that the previous rank does what this one does.
 *
 * @throws `invalid_argument` naming both ranks and both values.
 */
export function checkAgreement(theirs: PassHeader, theirRank: number, ours: PassHeader, ourRank: number): void {
  if (theirs.operation !== ours.operation || theirs.pass !== ours.pass)
    throw new WeftError(
      'invalid_argument',
      `rank ${theirRank} calls ${theirs.operation} (pass ${theirs.pass}) where rank ${ourRank} calls ${ours.operation} (pass ${ours.pass})`,
      { cure: 'call the same collectives in the same order on every rank' },
    );
  if (theirs.length !== ours.length)
    throw new WeftError(
      'invalid_argument',
      `rank ${theirRank} calls ${ours.operation} with ${amount(theirs)}, but rank ${ourRank} with ${amount(ours)}`,
      { cure: `give ${ours.operation} the same length on every rank` },
    );
  if (theirs.root !== ours.root)
    throw new WeftError(
      'invalid_argument',
      `rank ${theirRank} broadcasts from root ${theirs.root}, but rank ${ourRank} from root ${ours.root}`,
      { cure: 'name the same root on every rank' },
    );
}

function amount({ operation, length }: PassHeader): string {
  switch (operation) {
    case 'all-reduce':
    case 'reduce-scatter':
      return `${length} values`;
    case 'broadcast':
    case 'all-gather':
    case 'barrier':
      return `${length} bytes`;
    default:
      return assertNever(operation);
  }
}
