import { checkpointDirectory, type StreamedTensor, shardTensors, writeShard } from '@weft/checkpoint';
import { type Executor, elementCount, elementsOf, type FilledBox, type StatePart } from '@weft/tensor';
import { float32Of } from './host-tensors.js';
import { type CheckpointPort, type GenerationPlan, noSpans, type SpanNotes } from './ports.js';
import type { CheckpointLayout, StoredState } from './state.js';

/** Which file of a checkpoint a process writes. */
export interface SavedShare {
  /** The tensors of the state that go into it. */
  readonly names: readonly string[];
  /** Its number among the files of the checkpoint. */
  readonly file: number;
  readonly files: number;
}

/** A rank's share of the state that every rank holds. The files of the expert workers come after those of the ranks. */
export function rankShare({ tensors }: CheckpointLayout, plan: GenerationPlan): SavedShare {
  const { rank, worldSize, expertWorkers } = plan;
  return { names: shardTensors(tensors, rank, worldSize), file: rank, files: worldSize + expertWorkers };
}

/** An expert worker's share: all that it holds. */
export function expertShare({ tensors }: CheckpointLayout, plan: GenerationPlan): SavedShare {
  const { rank, worldSize, expertWorkers } = plan;
  return { names: tensors.map(({ name }) => name), file: worldSize + rank, files: worldSize + expertWorkers };
}

/** Where the state to save comes from, and where it goes. */
export interface CheckpointSaverOptions {
  readonly executor: Pick<Executor, 'copyState' | 'prepareCopy'>;
  readonly layout: CheckpointLayout;
  /** Checkpoints go below it, each in a directory of its own. */
  readonly runDirectory: string;
  /** `rankShare` or `expertShare`. */
  readonly share: (layout: CheckpointLayout, plan: GenerationPlan) => SavedShare;
  /** Default: nothing is noted. */
  readonly spans?: SpanNotes | undefined;
}

/**
 * Saves this process's part of the state while training goes on: `save` takes a snapshot, which later steps do not
 * change, and writes it in the background. One save at a time.
 */
export class CheckpointSaver {
  readonly #options: CheckpointSaverOptions;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: CheckpointSaverOptions) {
    this.#options = options;
  }

  /** Makes ready what the first save of a generation needs, so that training does not stand still for it then. */
  async prepare(plan: GenerationPlan): Promise<void> {
    const { executor, layout, share } = this.#options;
    await executor.prepareCopy(share(layout, plan).names);
  }

  /**
   * Resolves when nothing that comes later changes what is saved; the copy to the host and the file follow in the
   * background. @throws what the save before it threw.
   */
  async save(step: number, plan: GenerationPlan, coordinator: CheckpointPort): Promise<void> {
    const beganMs = performance.now();
    await this.settled();
    const { executor, layout, runDirectory, share, spans = noSpans } = this.#options;
    const { names, file, files } = share(layout, plan);
    const copies = await executor.copyState(names);
    const stallSeconds = (performance.now() - beganMs) / 1000;
    const directory = checkpointDirectory(runDirectory, step);
    this.#writing = copiedBoxes(copies, async (boxes) => {
      const tensors = layout.tensors.flatMap((stored) => streamed(stored, boxes[stored.name]));
      const written = await writeShard({ directory, rank: file, worldSize: files, tensors });
      coordinator.checkpointPart({ step, files: [written], stallSeconds });
      spans.add('checkpoints', `write step ${step}`, beganMs, { bytes: written.bytes });
    });
    // The failure is thrown by the next `save` or `settled`; until then it is not an unhandled one.
    this.#writing.catch(() => {});
  }

  /** Resolves when the last save is on disk. @throws what it threw. */
  async settled(): Promise<void> {
    const writing = this.#writing;
    this.#writing = Promise.resolve();
    await writing;
  }
}

/** Copies of variables on the host, by name, in the boxes in which the engine holds them. */
export type SavedCopies = Readonly<Record<string, readonly FilledBox[]>>;

/** Waits for the copies, works with them, and frees them. */
export async function copiedBoxes(
  copies: Readonly<Record<string, readonly StatePart[]>>,
  work: (boxes: SavedCopies) => Promise<void>,
): Promise<void> {
  const parts = Object.values(copies).flat();
  try {
    const boxes = Object.entries(copies).map(async ([name, own]) => {
      const filled = own.map(async ({ box, values }) => ({ box, values: float32Of(await values, `state ${name}`) }));
      return [name, await Promise.all(filled)] as const;
    });
    await work(Object.fromEntries(await Promise.all(boxes)));
  } finally {
    const settled = await Promise.allSettled(parts.map(({ values }) => values));
    for (const each of settled) if (each.status === 'fulfilled') each.value.dispose();
  }
}

/** A tensor of the state as those of the checkpoint that store it, read out of the boxes one after the other. */
function streamed({ shape, parts }: StoredState, boxes: readonly FilledBox[] | undefined): StreamedTensor[] {
  if (boxes === undefined) return [];
  return parts.map((part) => ({
    name: part.name,
    shape: part.shape,
    values: () => elementsOf(shape, boxes, part.offset, part.offset + elementCount(part.shape)),
  }));
}
