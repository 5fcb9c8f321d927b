import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type ErrorCode, WeftError } from '@weft/common';
import { encodeFrame, type FrameBody, readFrame } from './frame.js';
import type { Wire } from './link.js';
import type { RingPlace } from './ring-place.js';

/**
 * The handshake of one connection, before any tensor flows:
 *
 *     accepting side                      connecting side
 *        ── greeting { nonce } ───────────▶
 *        ◀── hello { who, memory, nonce, proof } ──
 *        ── welcome { proof, usesMemory } ▶     or refusal { code, message, cure }
 *
 * A proof is an HMAC-SHA256 under the ring's token of both nonces and everything the hello says. So both sides show
 * that they know the token, the token itself never travels, and a recorded handshake is of no use.
 */

/** The two connections of neighbours in the ring, and the one of a rank to an expert worker. */
const LINK_KINDS = ['data', 'control', 'experts'] as const;
export type LinkKind = (typeof LINK_KINDS)[number];

/** Who is calling, and for which connection. */
export interface Caller extends RingPlace {
  readonly link: LinkKind;
  /** Which expert worker is called; 0 in the ring. */
  readonly expertWorker: number;
}

/** What a caller says, and proves to have said. */
interface Said extends Caller {
  /** The shared memory in which the caller would rather find its bytes; empty for none. */
  readonly memory: string;
}

/** A hello whose proof is not checked yet: the token is only known once the run is. */
export interface Hello extends Said {
  readonly acceptorNonce: string;
  readonly nonce: string;
  readonly proof: string;
}

/**
 * The connecting side. Returns whether the other side will use the caller's memory.
 *
 * @throws WeftError what the other side refuses with, or `failed_precondition` when it is not our peer.
 */
export async function callPeer(wire: Wire, caller: Caller, token: string, memory = ''): Promise<boolean> {
  const said: Said = { ...caller, memory };
  const acceptorNonce = text(await readFrame(wire), 'nonce');
  const nonce = randomBytes(16).toString('hex');
  send(wire, { ...said, nonce, proof: proofOf('hello', token, said, acceptorNonce, nonce) });
  const answer = await readFrame(wire);
  if (answer.refused !== undefined) throw refusalFrom(answer);
  const usesMemory = answer.usesMemory === true;
  if (!sameProof(text(answer, 'proof'), proofOf(welcomeLabel(usesMemory), token, said, acceptorNonce, nonce)))
    throw new WeftError('failed_precondition', 'the peer does not know the token of this ring', {
      cure: 'check that all workers talk to the same coordinator',
    });
  return usesMemory;
}

/** The accepting side's first half: greets, and returns what the caller says about itself. */
export async function greet(wire: Wire): Promise<Hello> {
  const acceptorNonce = randomBytes(16).toString('hex');
  send(wire, { nonce: acceptorNonce });
  const body = await readFrame(wire);
  const name = text(body, 'link');
  const link = LINK_KINDS.find((kind) => kind === name);
  if (link === undefined)
    throw new WeftError('corrupt_data', `a data plane connection is one of ${LINK_KINDS.join(', ')}, not "${name}"`);
  return {
    runId: text(body, 'runId'),
    generation: whole(body, 'generation'),
    rank: whole(body, 'rank'),
    worldSize: whole(body, 'worldSize'),
    link,
    expertWorker: whole(body, 'expertWorker'),
    memory: text(body, 'memory'),
    acceptorNonce,
    nonce: text(body, 'nonce'),
    proof: text(body, 'proof'),
  };
}

/** Whether the caller knows the token; takes the same time whatever the proof. */
export function knowsToken(hello: Hello, token: string): boolean {
  return sameProof(hello.proof, proofOf('hello', token, hello, hello.acceptorNonce, hello.nonce));
}

export function welcome(wire: Wire, hello: Hello, token: string, usesMemory = false): void {
  const proof = proofOf(welcomeLabel(usesMemory), token, hello, hello.acceptorNonce, hello.nonce);
  send(wire, { proof, usesMemory });
}

function welcomeLabel(usesMemory: boolean): string {
  return usesMemory ? 'welcome, by memory' : 'welcome';
}

/** Says no, with the reason, and closes. */
export function refuse(wire: Wire, error: WeftError): void {
  send(wire, {
    refused: error.code,
    message: error.message,
    ...(error.cure === undefined ? {} : { cure: error.cure }),
  });
  wire.end();
}

function send(wire: Wire, body: FrameBody): void {
  wire.write(encodeFrame(body), () => {});
}

function proofOf(label: string, token: string, said: Said, acceptorNonce: string, nonce: string): string {
  const { runId, generation, rank, worldSize, link, expertWorker, memory } = said;
  const place = [runId, generation, rank, worldSize, link, expertWorker, memory];
  const proven = JSON.stringify([label, acceptorNonce, nonce, ...place]);
  return createHmac('sha256', token).update(proven).digest('hex');
}

function sameProof(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

const REFUSAL_CODES: readonly ErrorCode[] = [
  'invalid_argument',
  'already_exists',
  'failed_precondition',
  'version_mismatch',
  'unavailable',
];

function refusalFrom(body: FrameBody): WeftError {
  const code = REFUSAL_CODES.find((known) => known === body.refused) ?? 'failed_precondition';
  return new WeftError(code, text(body, 'message'), typeof body.cure === 'string' ? { cure: body.cure } : {});
}

function text(body: FrameBody, field: string): string {
  const value = body[field];
  if (typeof value === 'string') return value;
  throw new WeftError('corrupt_data', `a handshake of the data plane lacks the text "${field}"`);
}

function whole(body: FrameBody, field: string): number {
  const value = body[field];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new WeftError('corrupt_data', `a handshake of the data plane lacks the whole number "${field}"`);
}
