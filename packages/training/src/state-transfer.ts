import { shardTensors } from '@weft/checkpoint';
import type { StateShare } from '@weft/collectives';
import { SerialQueue } from '@weft/common';
import { cut, type Executor, elementCount, elementsOf, required } from '@weft/tensor';
import { copiedBoxes, type SavedCopies } from './checkpoint-saver.js';
import type { GenerationPlan } from './ports.js';
import type { CheckpointLayout, StoredState } from './state.js';

/** How the state of a run gets from the ranks that hold it to those that join under way, in one generation. */
export interface StateTransfer {
  /** On a holder: sends its share to every newcomer. */
  send(chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /** On a newcomer: the shares of all holders, in the order of their ranks. */
  receive(): Promise<readonly StateShare[]>;
  /** Ends what is under way. */
  close(): void;
}

/** The part of an engine's state that goes to newcomers. */
interface TransferOptions {
  readonly executor: Pick<Executor, 'copyState' | 'fillState'>;
  readonly layout: Pick<CheckpointLayout, 'tensors'>;
  readonly plan: Pick<GenerationPlan, 'rank' | 'worldSize' | 'newcomers'>;
  readonly transfer: StateTransfer;
}

/**
 * On a holder: begins to send its share. Resolves once nothing that comes later changes what is sent; the sending goes on
 * beside the first step. No step is applied meanwhile, because a newcomer votes only once it has the state.
 * Sending that fails is no failure of its own: a newcomer that is gone breaks the ring.
 */
export async function beginSending({ executor, layout, plan, transfer }: TransferOptions): Promise<void> {
  const holders = holdersOf(plan);
  const names = shareOf(layout, holders.indexOf(plan.rank), holders.length);
  const copies = await executor.copyState(names);
  copiedBoxes(copies, (boxes) => transfer.send(bytesOf(layout, boxes))).catch(() => {});
}

/**
 * On a newcomer: takes the state from the holders, from all of them at a time.
 *
 * @throws WeftError `unavailable` when a holder is gone, `corrupt_data` for bytes that arrived damaged.
 */
export async function receiveState({ executor, layout, transfer }: Omit<TransferOptions, 'plan'>): Promise<void> {
  const shares = await transfer.receive();
  const byName = new Map(layout.tensors.map((tensor) => [tensor.name, tensor]));
  // Shares come at the same time, and the engine takes one tensor after the other.
  const engine = new SerialQueue();
  const take = async (share: StateShare, index: number) => {
    for (const name of shareOf(layout, index, shares.length)) {
      const { shape } = required(byName, name);
      const values = new Float32Array(elementCount(shape));
      await share.read(new Uint8Array(values.buffer));
      await engine.run(() => executor.fillState([name], async (_, box) => cut(values, shape, box)));
    }
    await share.end();
  };
  try {
    await Promise.all(shares.map(take));
  } finally {
    for (const share of shares) share.close();
    await engine.idle();
  }
}

function holdersOf({ worldSize, newcomers = [] }: TransferOptions['plan']): readonly number[] {
  return Array.from({ length: worldSize }, (_, rank) => rank).filter((rank) => !newcomers.includes(rank));
}

/** The tensors that the `index`-th holder sends, in the order of the state. */
function shareOf({ tensors }: TransferOptions['layout'], index: number, holders: number): readonly string[] {
  return shardTensors(tensors, index, holders);
}

async function* bytesOf({ tensors }: TransferOptions['layout'], boxes: SavedCopies): AsyncGenerator<Uint8Array> {
  for (const { name, shape } of tensors) yield* bytesOfTensor({ name, shape }, boxes);
}

function* bytesOfTensor({ name, shape }: Pick<StoredState, 'name' | 'shape'>, boxes: SavedCopies) {
  const own = boxes[name];
  if (own === undefined) return;
  for (const { buffer, byteOffset, byteLength } of elementsOf(shape, own))
    yield new Uint8Array(buffer, byteOffset, byteLength);
}
