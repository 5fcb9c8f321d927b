import { createHash } from 'node:crypto';
import { WeftError } from '@weft/common';

/** The digest of no sequences. */
export const EMPTY_DIGEST = '0'.repeat(64);

/**
 * A digest over the identities of sequences that does not depend on how they are shared out: the sum modulo 2²⁵⁶ of
 * one SHA-256 per sequence. The digests of the ranks' slices sum to the digest of the step for any worldSize, and
 * because every identity holds the global sequence number, swapped sequences change it.
 *
 * @param identities one string per sequence, for instance `dataset/globalSequence/source/sequence`.
 * @returns 64 hexadecimal digits.
 */
export function digestOf(identities: Iterable<string>): string {
  const parts: string[] = [];
  for (const identity of identities) parts.push(createHash('sha256').update(identity).digest('hex'));
  return combineDigests(parts);
}

/**
 * The digest of several slices together, in whatever order they come.
 *
 * @throws `invalid_argument` when one is not 64 hexadecimal digits.
 */
export function combineDigests(digests: Iterable<string>): string {
  let sum = 0n;
  for (const digest of digests) {
    if (!/^[0-9a-f]{64}$/.test(digest))
      throw new WeftError('invalid_argument', `a sequence digest is 64 hexadecimal digits, not "${digest}"`);
    sum += BigInt(`0x${digest}`);
  }
  return BigInt.asUintN(256, sum).toString(16).padStart(64, '0');
}
