import { checkpointDirectory, shardTensors, writeShard } from '@weft/checkpoint';
import type { Executor } from '@weft/engine';
import type { CoordinatorLink, GenerationPlan } from './ports.js';
import type { TrainProgram } from './train-program.js';

/**
 * Saves this rank's part of the replicated state while training goes on: the state is a snapshot that later steps
 * leave alone, written in the background. One save at a time.
 */
export class CheckpointSaver {
  readonly #executor: Executor;
  readonly #program: TrainProgram;
  readonly #runDirectory: string;
  #writing: Promise<void> = Promise.resolve();

  constructor(executor: Executor, program: TrainProgram, runDirectory: string) {
    this.#executor = executor;
    this.#program = program;
    this.#runDirectory = runDirectory;
  }

  /** Takes the snapshot of the state after `step` and starts to write it. @throws whatever the save before it met. */
  async save(step: number, plan: GenerationPlan, link: CoordinatorLink): Promise<void> {
    await this.settled();
    const { rank, worldSize } = plan;
    const state = Object.entries(this.#program.state).map(([name, { shape }]) => ({ name, shape }));
    const mine = shardTensors(state, rank, worldSize);
    const snapshot = await this.#executor.readState(mine);
    const directory = checkpointDirectory(this.#runDirectory, step);
    const tensors = Object.entries(snapshot).map(([name, { spec, data }]) => ({
      name,
      shape: spec.shape,
      data: data as Float32Array,
    }));
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
