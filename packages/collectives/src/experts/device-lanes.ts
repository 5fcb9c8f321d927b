import { refuse, type WeftError } from '@weft/common';
import type { DeviceSpan } from '@weft/tensor';
import { Communicators, type DeviceTransfer, type TransferStats } from '../nccl/communicators.js';
import { type NcclLibrary, UNIQUE_ID_BYTES } from '../nccl/library.js';
import { parseJson } from '../transport/frame.js';
import type { ExchangeDevices } from './exchange.js';
import { type ExpertShard, sentRanges, unusedRanges } from './expert-shard.js';

/** In the communicators of an expert worker it is member 0, and rank r is member r + 1. */
export const WORKER_MEMBER = 0;
/** The member that a rank is. */
export const memberOf = (rank: number): number => rank + 1;

/**
 * The two communicators of an expert worker and all ranks: one for what ranks send, one for answers. Each carries one
 * direction, in the order in which the messages about it go over a connection; so no transfer waits for a later one.
 */
export class DeviceLanes {
  readonly requests: Communicators;
  readonly answers: Communicators;

  constructor(library: NcclLibrary, ids: LaneIds, member: number, members: number) {
    const open = (id: Uint8Array) =>
      new Communicators({ library, ids: [id], rank: member, worldSize: members, waiting: 'polling' });
    this.requests = open(ids.requests);
    this.answers = open(ids.answers);
  }

  /** Resolves when every member has opened them. @throws WeftError as `Communicators.opened` */
  async opened(): Promise<void> {
    await this.requests.opened();
    await this.answers.opened();
  }

  get stats(): TransferStats {
    const [requests, answers] = [this.requests.stats, this.answers.stats];
    return {
      bytesSent: requests.bytesSent + answers.bytesSent,
      bytesReceived: requests.bytesReceived + answers.bytesReceived,
    };
  }

  /** Ends what is under way, which rejects with `error`, and frees everything. */
  async close(error: WeftError): Promise<void> {
    await Promise.all([this.requests.close(error), this.answers.close(error)]);
  }
}

/** The names of the two communicators of an expert worker, which makes them. */
export interface LaneIds {
  readonly requests: Uint8Array;
  readonly answers: Uint8Array;
}

/** The rows of a block that are sent, as transfers with a member: what travels is packed, the blocks have gaps. */
export function transfersOf(
  block: DeviceSpan,
  tokensPerExpert_EG: Int32Array,
  shard: ExpertShard,
  peer: number,
): readonly DeviceTransfer[] {
  return sentRanges(tokensPerExpert_EG, shard).map(({ first, end }) => ({ ...within(block, first, end), peer }));
}

/** The rows of a block that are not sent. */
export function unusedOf(block: DeviceSpan, tokensPerExpert_EG: Int32Array, shard: ExpertShard): readonly DeviceSpan[] {
  return unusedRanges(tokensPerExpert_EG, shard).map(({ first, end }) => within(block, first, end));
}

/** A part of a span, in elements. */
export function within({ device, address }: DeviceSpan, first: number, end: number): DeviceSpan {
  return { device, address: address + BigInt(first * Float32Array.BYTES_PER_ELEMENT), elements: end - first };
}

/** From a rank to an expert worker: what it has; the name of a library that it lacks is empty. */
export interface DeviceOffer {
  readonly library: string;
  readonly missing: string;
}

export function offerOf({ library, missing = 'it has no NCCL library' }: ExchangeDevices): DeviceOffer {
  return { library: library?.name ?? '', missing };
}

/** Why these cannot exchange rows between their devices; undefined where they can. */
export function whyNoLanes(own: DeviceOffer, ranks: readonly DeviceOffer[], expertWorker: number): string | undefined {
  const members = [...ranks.map((offer, rank) => ({ who: `rank ${rank}`, offer }))];
  members.push({ who: `expert worker ${expertWorker}`, offer: own });
  const without = members.find(({ offer }) => offer.library === '');
  if (without !== undefined) return `${without.who}: ${without.offer.missing}`;
  const other = members.find(({ offer }) => offer.library !== own.library);
  if (other === undefined) return undefined;
  return `${other.who} has ${other.offer.library}, expert worker ${expertWorker} has ${own.library}`;
}

/** The answer of an expert worker, and the decision of the ranks, which has no ids: a reason against it, or none. */
export type LaneReply = { readonly ids?: LaneIds | undefined; readonly reason?: string | undefined };

export function encodeReply({ ids, reason }: LaneReply): string {
  if (ids === undefined) return JSON.stringify({ reason });
  const hex = (id: Uint8Array) => Buffer.from(id).toString('hex');
  return JSON.stringify({ requests: hex(ids.requests), answers: hex(ids.answers) });
}

/** @throws WeftError `corrupt_data` for a text that `encodeReply` does not give */
export function decodeReply(text: string): LaneReply {
  const { reason, requests, answers } = fieldsOf(text);
  if (typeof reason === 'string') return { reason };
  if (requests === undefined && answers === undefined) return {};
  return { ids: { requests: idFrom(requests), answers: idFrom(answers) } };
}

/** @throws WeftError `corrupt_data` for a text that is no offer */
export function decodeOffer(text: string): DeviceOffer {
  const { library, missing } = fieldsOf(text);
  if (typeof library === 'string' && typeof missing === 'string') return { library, missing };
  return refuse('corrupt_data', 'invalid message: no offer of devices');
}

function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  const parsed = parseJson(text);
  return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
}

function idFrom(hex: unknown): Uint8Array {
  const id = typeof hex === 'string' ? Buffer.from(hex, 'hex') : Buffer.alloc(0);
  if (id.length !== UNIQUE_ID_BYTES) refuse('corrupt_data', 'invalid message: no id of a communicator');
  return new Uint8Array(id);
}
