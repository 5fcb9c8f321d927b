import { checkpointDirectory, shardTensors, writeShard } from '@weft/checkpoint';
import { type Executor, elementCount } from '@weft/tensor';
import { disposeAll, floatsOf } from './host-tensors.js';
import type { CheckpointPort, GenerationPlan } from './ports.js';
import type { CheckpointLayout } from './state.js';

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
  readonly executor: Pick<Executor, 'readState'>;
  readonly layout: CheckpointLayout;
  /** Checkpoints go below it, each in a directory of its own. */
  readonly runDirectory: string;
  /** `rankShare` or `expertShare`. */
  readonly share: (layout: CheckpointLayout, plan: GenerationPlan) => SavedShare;
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

  /** Resolves when the snapshot of the state after `step` is taken. @throws what the save before it threw. */
  async save(step: number, plan: GenerationPlan, coordinator: CheckpointPort): Promise<void> {
    await this.settled();
    const { executor, layout, runDirectory, share } = this.#options;
    const { names, file, files } = share(layout, plan);
    const saved = new Set(names);
    const snapshot = await executor.readState(names);
    const tensors = layout.tensors
      .filter(({ name }) => saved.has(name))
      .flatMap(({ name, parts }) =>
        parts.map((part) => ({
          name: part.name,
          shape: part.shape,
          data: floatsOf(snapshot, name).subarray(part.offset, part.offset + elementCount(part.shape)),
        })),
      );
    const directory = checkpointDirectory(runDirectory, step);
    this.#writing = writeShard({ directory, rank: file, worldSize: files, tensors })
      .then((written) => coordinator.checkpointPart({ step, files: [written] }))
      .finally(() => disposeAll(snapshot));
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
