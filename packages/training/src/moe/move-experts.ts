import { createHash, timingSafeEqual } from 'node:crypto';
import type { WorkerLink } from '@weft/collectives';
import { refuse } from '@weft/common';
import { cut, type Executor, elementCount, elementsOf, required } from '@weft/tensor';
import type { ExpertMove, Range } from '@weft/topology';
import { copiedBoxes, type SavedCopies } from '../checkpoint-saver.js';
import type { StoredState } from '../state.js';
import type { ExpertProgram } from './expert-program.js';

/** Experts in an engine, with their moments. */
export interface ExpertsInMemory {
  readonly experts: Range;
  readonly executor: Pick<Executor, 'copyState' | 'fillState'>;
  readonly program: Pick<ExpertProgram, 'layout'>;
}

/** Ways to other expert workers, by number. */
export interface LinksTo {
  to(receiver: number): WorkerLink;
  from(sender: number): WorkerLink;
}

/** What an expert worker has to move, and with what. */
export interface MoveOptions {
  /** The number of this expert worker. */
  readonly worker: number;
  /** All moves of the generation, see `expertMoves`. */
  readonly moves: readonly ExpertMove[];
  /** The engine of this worker that holds exactly this range. @throws WeftError when there is none */
  readonly inMemory: (experts: Range) => ExpertsInMemory;
  readonly links: LinksTo;
}

/**
 * Begins to send to others what they are to hold. Resolves once nothing that comes later changes what is sent; the sending goes on
 * beside the first step. Sending that fails is no failure of its own: a receiver that is gone breaks the generation.
 */
export async function beginSendingExperts({ worker, moves, inMemory, links }: MoveOptions): Promise<void> {
  const outgoing = moves.filter(({ from, target }) => from === worker && target.worker !== worker);
  for (const receiver of new Set(outgoing.map(({ target }) => target.worker))) {
    const own = outgoing.filter(({ target }) => target.worker === receiver);
    const held = own.map(({ source }) => inMemory(source));
    const copies = await Promise.all(held.map(({ executor, program }) => copyAll(executor, program)));
    const link = links.to(receiver);
    const sending = withBoxes(copies, async (boxes) => {
      const digest = createHash('sha256');
      for (const bytes of inOrder(own, held, boxes)) {
        digest.update(bytes);
        await link.write(bytes);
      }
      await link.write(digest.digest());
    });
    sending.catch(() => {});
  }
}

/**
 * Fills the engines of this worker's targets that are not there yet.
 *
 * @throws WeftError `unavailable` when a holder is gone, `corrupt_data` for bytes that arrived damaged.
 */
export async function takeExperts({ worker, moves, inMemory, links }: MoveOptions): Promise<void> {
  const incoming = moves.filter(({ target }) => target.worker === worker);
  const digests = new Map([...new Set(incoming.map(({ from }) => from))].map((from) => [from, createHash('sha256')]));
  for (const target of new Set(incoming.map((move) => move.target))) {
    const parts = incoming.filter((move) => move.target === target);
    const { executor, program } = inMemory(target.experts);
    for (const { name, shape } of program.layout.tensors) {
      const values = new Float32Array(elementCount(shape));
      for (const { from, source, experts } of parts) {
        const part = sliceOf(values, shape, target.experts, experts);
        if (from === worker) await copyWithin(inMemory(source), name, experts, part);
        else {
          const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
          await links.from(from).read(bytes);
          digests.get(from)?.update(bytes);
        }
      }
      await executor.fillState([name], async (_, box) => cut(values, shape, box));
    }
  }
  for (const [from, digest] of digests) {
    if (from === worker) continue;
    const sent = new Uint8Array(32);
    await links.from(from).read(sent);
    if (!timingSafeEqual(sent, digest.digest()))
      refuse('corrupt_data', `the experts that expert worker ${from} sent arrived damaged`);
  }
}

/** What goes to one receiver, in the order in which it is taken: target by target, tensor by tensor, range by range. */
function* inOrder(
  moves: readonly ExpertMove[],
  held: readonly ExpertsInMemory[],
  boxes: readonly SavedCopies[],
): Generator<Uint8Array> {
  for (const target of new Set(moves.map((move) => move.target))) {
    // Every range of experts has tensors of the same names, in the same order.
    const names = held[0]?.program.layout.tensors.map(({ name }) => name) ?? [];
    for (const name of names)
      for (const [index, move] of moves.entries())
        if (move.target === target) yield* bytesOf(required(byName(held[index]), name), boxes[index], move);
  }
}

function* bytesOf(
  { name, shape }: StoredState,
  boxes: SavedCopies | undefined,
  { source, experts }: ExpertMove,
): Generator<Uint8Array> {
  const perExpert = elementCount(shape) / (source.end - source.first);
  const [first, end] = [experts.first - source.first, experts.end - source.first].map((each) => each * perExpert);
  for (const { buffer, byteOffset, byteLength } of elementsOf(shape, boxes?.[name] ?? [], first, end))
    yield new Uint8Array(buffer, byteOffset, byteLength);
}

function byName(held: ExpertsInMemory | undefined): ReadonlyMap<string, StoredState> {
  return new Map(held?.program.layout.tensors.map((tensor) => [tensor.name, tensor]));
}

/** The elements of some experts in a tensor that has them along its first axis, a view. */
function sliceOf(values: Float32Array, shape: readonly number[], held: Range, experts: Range): Float32Array {
  const perExpert = elementCount(shape) / (held.end - held.first);
  return values.subarray((experts.first - held.first) * perExpert, (experts.end - held.first) * perExpert);
}

/** From another range on this worker. */
async function copyWithin(from: ExpertsInMemory, name: string, experts: Range, target: Float32Array): Promise<void> {
  const { shape } = required(byName(from), name);
  await copiedBoxes(await from.executor.copyState([name]), async (boxes) => {
    let filled = 0;
    const move = { source: from.experts, experts } as ExpertMove;
    for (const bytes of bytesOf({ name, shape, parts: [] }, boxes, move)) {
      target.set(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4), filled);
      filled += bytes.byteLength / 4;
    }
  });
}

function copyAll(executor: ExpertsInMemory['executor'], { layout }: ExpertsInMemory['program']) {
  return executor.copyState(layout.tensors.map(({ name }) => name));
}

/** `copiedBoxes` of several engines. */
async function withBoxes(
  copies: readonly Awaited<ReturnType<typeof copyAll>>[],
  work: (boxes: readonly SavedCopies[]) => Promise<void>,
  boxes: readonly SavedCopies[] = [],
): Promise<void> {
  const [first, ...rest] = copies;
  if (first === undefined) return work(boxes);
  await copiedBoxes(first, (own) => withBoxes(rest, work, [...boxes, own]));
}
