import type { DataPlane, ProcessGroup } from '@weft/collectives';
import { sleep } from '@weft/common';
import type { Assignment } from '@weft/proto';
import { ringNeighbours } from '@weft/topology';

/** After so long without an operation of the ring that was completed, the neighbours are looked at. */
const FIRST_LOOK_MS = 1500;
/** A process that computes without a pause answers no connection itself, and its kernel keeps only some hundreds. */
const LONGEST_PAUSE_MS = 5000;

/** What `watchPeers` needs. */
export interface PeerWatchOptions {
  readonly dataPlane: Pick<DataPlane, 'findUnreachable'>;
  /** Data-plane addresses of those that this process is connected to in the generation now. */
  readonly neighbours: () => readonly string[];
  /** Of all other members. */
  readonly members: readonly string[];
  /** Completed operations of the ring count as signs of life; undefined while it is not formed. */
  readonly group: () => Pick<ProcessGroup, 'stats'> | undefined;
  /** Ends the watch. */
  readonly signal: AbortSignal;
}

/**
 * Watches the members that this one is connected to in a generation. A cut network closes no connection: the ring only
 * stands still. So whenever it does, the neighbours' hosts are asked for a connection, whose kernels answer at once.
 *
 * @returns the addresses of the members that cannot be reached, once a neighbour could not be twice in a row; none when the
 *   watch was ended
 */
export async function watchPeers(options: PeerWatchOptions): Promise<readonly string[]> {
  const { dataPlane, neighbours, members, group, signal } = options;
  let seen = 0;
  let pauseMs = FIRST_LOOK_MS;
  while (!signal.aborted) {
    await sleep(pauseMs, signal).catch(() => {});
    if (signal.aborted) break;
    const { bytesSent = 0, bytesReceived = 0, seconds = 0 } = group()?.stats ?? {};
    const progress = bytesSent + bytesReceived + seconds;
    if (progress !== seen) {
      seen = progress;
      pauseMs = FIRST_LOOK_MS;
      continue;
    }
    pauseMs = Math.min(pauseMs * 1.5, LONGEST_PAUSE_MS);
    const suspects = await dataPlane.findUnreachable(neighbours());
    if (suspects.length === 0 || signal.aborted) continue;
    const unreachable = await dataPlane.findUnreachable(members);
    if (suspects.some((address) => unreachable.includes(address)) && !signal.aborted) return unreachable;
  }
  return [];
}

/**
 * The ranks that one is connected to: its neighbours in the ring, and those that the state goes to or comes from.
 * @param arriving the newcomers that have no state yet: every other rank sends each of them a share
 */
export function linkedRanks(
  { rank, worldSize }: { readonly rank: number; readonly worldSize: number },
  arriving: readonly number[],
): readonly number[] {
  const { previous, next } = ringNeighbours(rank, worldSize);
  const isArriving = arriving.includes(rank);
  const holders = Array.from({ length: worldSize }, (_, other) => other).filter((other) => !arriving.includes(other));
  return [previous, next, ...(isArriving ? holders : arriving)];
}

/** "rank 2 at 10.0.0.7:4711". */
export function memberName(
  { ringAddresses, expertAddresses }: Pick<Assignment, 'ringAddresses' | 'expertAddresses'>,
  address: string,
): string {
  const rank = ringAddresses.indexOf(address);
  const name = rank >= 0 ? `rank ${rank}` : `expert worker ${expertAddresses.indexOf(address)}`;
  return `${name} at ${address}`;
}
