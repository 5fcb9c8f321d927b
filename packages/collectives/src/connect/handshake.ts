import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type ErrorCode, refuse, WeftError } from '@weft/common';
import type { Duplex } from '../transport/duplex.js';
import { encodeFrame, type FrameBody, readFrame } from '../transport/frame.js';
import type { RankId } from './rank-id.js';

/**
 * The handshake of one connection, before any tensor is sent:
 *
 *     accepting side                      connecting side
 *        ── greeting { nonce } ───────────▶
 *        ◀── hello { caller, memory, nonce, proof } ──
 *        ── welcome { proof, usesMemory } ▶     or refusal { refused, message, hint }
 *
 * A proof is an HMAC-SHA256, keyed by the token of the generation, of both nonces and all fields of the hello. Both sides
 * prove that they know the token, the token itself is never sent, and a recorded handshake cannot be replayed.
 */

/**
 * The two connections between neighbours in the ring, the connection of a rank to an expert worker, that of a newcomer to a
 * rank that holds the state, and that between two expert workers for experts and copies of them.
 */
const LINKS = ['data', 'control', 'experts', 'state', 'copies'] as const;
type Link = (typeof LINKS)[number];

/** Who connects, and for which connection. */
export interface Caller extends RankId {
  readonly link: Link;
  /** The expert worker that is called; 0 in the ring. */
  readonly expertWorker: number;
}

/** What the proofs cover beside the nonces. */
interface ProvenFields extends Caller {
  /** The name of the shared memory through which the caller prefers to receive; empty for none. */
  readonly memory: string;
}

/** A hello whose proof is not checked yet: the token is known only once the generation is found. */
export interface Hello extends ProvenFields {
  readonly acceptorNonce: string;
  readonly nonce: string;
  readonly proof: string;
}

/**
 * The connecting side.
 *
 * @param memory the name of shared memory that it offers to receive through; empty for none
 * @returns whether the peer will send through that memory
 * @throws WeftError the peer's refusal, or `failed_precondition` when the peer does not know the token.
 */
export async function callPeer(duplex: Duplex, caller: Caller, token: string, memory = ''): Promise<boolean> {
  const fields: ProvenFields = { ...caller, memory };
  const acceptorNonce = text(await readFrame(duplex), 'nonce');
  const nonce = randomBytes(16).toString('hex');
  send(duplex, { ...fields, nonce, proof: proofOf('hello', token, fields, acceptorNonce, nonce) });
  const answer = await readFrame(duplex);
  if (answer.refused !== undefined) throw refusalFrom(answer);
  const usesMemory = answer.usesMemory === true;
  const expected = proofOf(welcomeLabel(usesMemory), token, fields, acceptorNonce, nonce);
  if (!isSameProof(text(answer, 'proof'), expected))
    refuse(
      'failed_precondition',
      'the peer does not know the token of this ring',
      'check that all workers talk to the same coordinator',
    );
  return usesMemory;
}

/** The first half of the accepting side: sends the greeting and returns the caller's hello. */
export async function greet(duplex: Duplex): Promise<Hello> {
  const acceptorNonce = randomBytes(16).toString('hex');
  send(duplex, { nonce: acceptorNonce });
  const body = await readFrame(duplex);
  const name = text(body, 'link');
  const link = LINKS.find((known) => known === name);
  if (link === undefined)
    refuse('corrupt_data', `a data plane connection is one of ${LINKS.join(', ')}, not "${name}"`);
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

/** Whether the caller knows the token; takes the same time for every proof of the right length. */
export function knowsToken(hello: Hello, token: string): boolean {
  return isSameProof(hello.proof, proofOf('hello', token, hello, hello.acceptorNonce, hello.nonce));
}

/** The second half of the accepting side: admits the caller, and proves that this side knows the token too. */
export function welcome(duplex: Duplex, hello: Hello, token: string, usesMemory: boolean): void {
  const proof = proofOf(welcomeLabel(usesMemory), token, hello, hello.acceptorNonce, hello.nonce);
  send(duplex, { proof, usesMemory });
}

/** The other second half: sends the reason why the caller is not admitted, and closes. */
export function refuseCaller(duplex: Duplex, { code, message, hint }: WeftError): void {
  send(duplex, { refused: code, message, ...(hint === undefined ? {} : { hint }) });
  duplex.end();
}

function send(duplex: Duplex, body: FrameBody): void {
  duplex.write(encodeFrame(body), () => {});
}

function welcomeLabel(usesMemory: boolean): string {
  return usesMemory ? 'welcome, by memory' : 'welcome';
}

function proofOf(label: string, token: string, fields: ProvenFields, acceptorNonce: string, nonce: string): string {
  const { runId, generation, rank, worldSize, link, expertWorker, memory } = fields;
  const proven = [label, acceptorNonce, nonce, runId, generation, rank, worldSize, link, expertWorker, memory];
  return createHmac('sha256', token).update(JSON.stringify(proven)).digest('hex');
}

function isSameProof(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Codes that a refusal may carry; any other one counts as `failed_precondition`. */
const REFUSAL_CODES: readonly ErrorCode[] = [
  'invalid_argument',
  'already_exists',
  'failed_precondition',
  'version_mismatch',
  'unavailable',
];

function refusalFrom(body: FrameBody): WeftError {
  const code = REFUSAL_CODES.find((known) => known === body.refused) ?? 'failed_precondition';
  return new WeftError(code, text(body, 'message'), typeof body.hint === 'string' ? { hint: body.hint } : {});
}

function text(body: FrameBody, field: string): string {
  const value = body[field];
  if (typeof value === 'string') return value;
  return refuse('corrupt_data', `a handshake of the data plane lacks the text "${field}"`);
}

function whole(body: FrameBody, field: string): number {
  const value = body[field];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  return refuse('corrupt_data', `a handshake of the data plane lacks the whole number "${field}"`);
}
