import { checkpointDirectory, shardTensors, writeShard } from '@weft/checkpoint';
import type { CheckpointFile } from '@weft/contracts';
import { type Executor, elementCount } from '@weft/engine';
import { storedTensors } from '@weft/model';
import type { GenerationPlan } from './ports.js';
import type { StoredState } from './stored-state.js';

/** Which file of a checkpoint a process writes. */
export interface SavedShare {
  /** The resident tensors that it holds. */
  readonly names: readonly string[];
  /** Its number among the files of the checkpoint. */
  readonly file: number;
  readonly files: number;
}

/** A rank's share of the state that every rank holds. The files of the expert workers come after those of the ranks. */
export function rankShare(stored: StoredState, { rank, worldSize, expertWorkers }: GenerationPlan): SavedShare {
  return { names: shardTensors(stored.tensors, rank, worldSize), file: rank, files: worldSize + expertWorkers };
}

/** An expert worker's share: all that it holds. */
export function expertShare(stored: StoredState, { rank, worldSize, expertWorkers }: GenerationPlan): SavedShare {
  const names = stored.tensors.map(({ name }) => name);
  return { names, file: worldSize + rank, files: worldSize + expertWorkers };
}

/** Who is told that a part is on disk. */
export interface PartLink {
  checkpointPart(part: { readonly step: number; readonly files: readonly CheckpointFile[] }): void;
}

export interface CheckpointSaverOptions {
  readonly executor: Executor;
  readonly stored: StoredState;
  readonly runDirectory: string;
  /** What this process saves in a generation. */
  readonly shareOf: (plan: GenerationPlan) => SavedShare;
}

/**
 * Saves this process's part of the state while training goes on: the state is a snapshot that later steps leave alone,
 * written in the background. One save at a time.
 */
export class CheckpointSaver {
  readonly #options: CheckpointSaverOptions;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: CheckpointSaverOptions) {
    this.#options = options;
  }

  /** Takes the snapshot of the state after `step` and starts to write it. @throws whatever the save before it met. */
  async save(step: number, plan: GenerationPlan, link: PartLink): Promise<void> {
    await this.settled();
    const { executor, runDirectory, shareOf, stored } = this.#options;
    const { names, file: rank, files: worldSize } = shareOf(plan);
    const snapshot = await executor.readState(names);
    const directory = checkpointDirectory(runDirectory, step);
    const tensors = Object.entries(snapshot).flatMap(([name, { spec, data }]) =>
      storedTensors(name, spec.shape, stored.firstExpert).map(({ offset, ...tensor }) => ({
        ...tensor,
        data: (data as Float32Array).subarray(offset, offset + elementCount(tensor.shape)),
      })),
    );
    this.#writing = writeShard({ directory, rank, worldSize, tensors })
      .then((file) => link.checkpointPart({ step, files: [file] }))
      .finally(() => {
        for (const tensor of Object.values(snapshot)) tensor.dispose();
      });
    // The failure is thrown by the next `save` or `settled`; until then it is not an unhandled one.
    this.#writing.catch(() => {});
  }

  /** Resolves when the last save is on disk. @throws what it met. */
  async settled(): Promise<void> {
    const writing = this.#writing;
    this.#writing = Promise.resolve();
    await writing;
  }
}
