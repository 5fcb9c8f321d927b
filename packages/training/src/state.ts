import { CheckpointReader, type Manifest, readManifest, readTensors } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import { axesOfArray, type InitialWeights, type OptimizerKind, optimizerArrays } from '@weft/config';
import { resizePositions } from '@weft/model';
import { initialSources, isTrained, type StoredPart, type TaskParameter } from '@weft/tasks';
import {
  type Box,
  boxRuns,
  cut,
  type Executor,
  elementCount,
  type Program,
  required,
  type TensorSpec,
} from '@weft/tensor';
import type { GenerationPlan } from './ports.js';

/** A program whose state begins from a seed and ends in a checkpoint. */
export interface StatefulProgram extends Program {
  readonly parameters: readonly TaskParameter[];
  readonly layout: CheckpointLayout;
}

/** Which tensors of a program's state go into checkpoints, and under which names. */
export interface CheckpointLayout {
  readonly tensors: readonly StoredState[];
  /** Whether a tensor of a checkpoint belongs to another process of the run. */
  readonly isRemote: (storedName: string) => boolean;
}

/** A parameter, or a moment of one, and the tensors of a checkpoint that store it. */
export interface StoredState {
  readonly name: string;
  readonly shape: readonly number[];
  readonly parts: readonly Pick<StoredPart, 'name' | 'shape' | 'offset'>[];
}

/**
 * The state of a program that trains these parameters: weights, and what the optimizer keeps of those that are not frozen.
 * Checkpoints hold all of it.
 */
export function trainedState(
  parameters: readonly TaskParameter[],
  optimizer: OptimizerKind,
  isRemote: CheckpointLayout['isRemote'],
): Pick<StatefulProgram, 'state' | 'layout'> {
  const weights = parameters.map(({ name, shape, axes, stored }) => ({ name, shape, axes, parts: stored }));
  const moments = parameters.filter(isTrained).flatMap(({ name, shape, axes, stored }) =>
    optimizerArrays(optimizer, shape.length).map((array) => ({
      name: `${array.prefix}/${name}`,
      shape: axesOfArray(array, shape),
      axes: axes && axesOfArray(array, axes),
      parts: stored.map((part) => {
        const partShape = axesOfArray(array, part.shape);
        // Parts follow one another along the first axis, which every array has.
        const offset = (part.offset / elementCount(part.shape)) * elementCount(partShape);
        return { name: `${array.prefix}/${part.name}`, shape: partShape, offset };
      }),
    })),
  );
  const tensors = [...weights, ...moments];
  const state = tensors.map(
    ({ name, shape, axes }) => [name, { shape, dtype: 'float32', axes } as TensorSpec] as const,
  );
  return { state: Object.fromEntries(state), layout: { tensors, isRemote } };
}

/** The engine that holds a state, and where the state begins. */
export interface TrainStateOptions {
  readonly executor: Executor;
  readonly program: StatefulProgram;
  readonly seed: number;
  /** The checkpoints whose weights a fresh run begins with; null: none, the seed alone. */
  readonly initFrom: InitialWeights | null;
  /** Throws to refuse a checkpoint before it is loaded. Default: every one is accepted. */
  readonly check?: ((manifest: Manifest, directory: string) => void) | undefined;
}

/** The parameters and moments in the engine, and the step after which they are. */
export class TrainState {
  readonly #options: TrainStateOptions;
  /** Undefined while there is no state, or none that is whole. */
  #step: number | undefined;

  constructor(options: TrainStateOptions) {
    this.#options = options;
  }

  /** To be called when a step is decided: the state is now the one after it. */
  setStep(step: number): void {
    this.#step = step;
  }

  /** As `prepare`, for a state that comes from the other ranks. @param receive resolves once it is in the engine */
  async take({ firstStep }: Pick<GenerationPlan, 'firstStep'>, receive: () => Promise<void>): Promise<void> {
    // Until everything is written, the engine may hold a mixture of two states.
    this.#step = undefined;
    await receive();
    this.#step = firstStep - 1;
  }

  /**
   * Keeps, initialises or loads the state, according to the plan.
   * @throws `failed_precondition` when the plan goes on from memory and this process has another state or none;
   *         what reading a checkpoint throws.
   */
  async prepare({ state, firstStep }: Pick<GenerationPlan, 'state' | 'firstStep'>): Promise<void> {
    if (state.kind === 'peers') throw new WeftError('internal', 'a state from peers is taken, not prepared');
    if (state.kind === 'keep') {
      if (this.#step === firstStep - 1) return;
      const has = this.#step === undefined ? 'nothing' : `the state after step ${this.#step}`;
      const message = `step ${firstStep} was to go on from memory, but this worker holds ${has}`;
      throw new WeftError('failed_precondition', message);
    }
    // Until everything is written, the engine may hold a mixture of two states.
    this.#step = undefined;
    const { executor, program, seed, initFrom, check } = this.#options;
    if (state.kind === 'checkpoint') {
      const manifest = await readManifest(state.directory);
      check?.(manifest, state.directory);
      await loadState(executor, program, state.directory, manifest);
    } else {
      if (initFrom === null) await initialiseState(executor, program, seed);
      else await initialiseFrom(executor, program, seed, initFrom);
    }
    this.#step = firstStep - 1;
  }
}

/** Sets every parameter from the seed and everything else to 0. */
export async function initialiseState(executor: Executor, program: StatefulProgram, seed: number): Promise<void> {
  const parameters = new Map(program.parameters.map((parameter) => [parameter.name, parameter]));
  // The random numbers of a parameter follow one another, so it is made whole, and its boxes are cut out of it.
  let made: { readonly name: string; readonly values: Float32Array } | undefined;
  const names = Object.keys(program.state);
  await executor.fillState(names, async (name, box) => {
    const parameter = parameters.get(name);
    if (parameter === undefined) return new Float32Array(elementCount(box.size));
    if (made?.name !== name) made = { name, values: parameter.initialValue(seed) };
    return cut(made.values, parameter.shape, box);
  });
}

/**
 * Begins a run from the weights of checkpoints, one for the model or one for each part; the moments are 0. A MoE model may
 * begin from a dense one: its experts become copies of the dense feed-forward, its routers begin from the seed.
 * @throws WeftError as `initialSources`
 */
export async function initialiseFrom(
  executor: Executor,
  program: StatefulProgram,
  seed: number,
  initFrom: InitialWeights,
): Promise<void> {
  const sources = await initialSources(program.parameters, initFrom);
  await initialiseState(executor, program, seed);
  for (const { directory, manifest, parameters, resized } of sources) {
    await fillFrom(executor, parameters, directory, manifest);
    const tables = new Map(resized.map((table) => [table.name, table]));
    for await (const { name, shape, data } of readTensors(directory, manifest, (each) => tables.has(each)))
      await executor.writeState({ [name]: resizePositions(data, shape, tables.get(name)?.shape ?? shape) });
  }
}

/**
 * Loads a checkpoint, whatever number of ranks, mesh and placement of experts wrote it.
 * @throws WeftError `corrupt_data` from the checkpoint, `invalid_argument` when its tensors are not the program's.
 */
async function loadState(
  executor: Executor,
  { layout }: StatefulProgram,
  directory: string,
  manifest: Manifest,
): Promise<void> {
  const refuse = (difference: string) =>
    new WeftError('invalid_argument', `checkpoint ${directory} is of another model: ${difference}`, {
      hint: 'resume it with the model settings of the run that wrote it',
    });
  const known = new Set(layout.tensors.flatMap(({ parts }) => parts.map(({ name }) => name)));
  const strange = manifest.tensors.find(({ name }) => !known.has(name) && !layout.isRemote(name));
  if (strange !== undefined) throw refuse(`it holds ${strange.name}, which the model does not have`);
  checkStored(layout.tensors, manifest, refuse);
  await fillFrom(executor, layout.tensors, directory, manifest);
}

/** @throws what `refuse` makes of a tensor that the checkpoint lacks or has in another shape. */
function checkStored(
  tensors: readonly StoredState[],
  manifest: Manifest,
  refuse: (difference: string) => WeftError,
): void {
  const found = new Map(manifest.tensors.map(({ name, shape }) => [name, shape]));
  for (const { name, shape } of tensors.flatMap(({ parts }) => parts)) {
    const actual = found.get(name);
    if (actual === undefined) throw refuse(`it lacks ${name}`);
    if (actual.join() !== shape.join())
      throw refuse(`${name} is [${actual.join(', ')}] there and [${shape.join(', ')}] in the model`);
  }
}

/** Reads tensors of the state out of a checkpoint, each box for itself: what no memory of the engine holds is not read. */
async function fillFrom(
  executor: Executor,
  tensors: readonly StoredState[],
  directory: string,
  manifest: Manifest,
): Promise<void> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const reader = new CheckpointReader(directory, manifest);
  try {
    await executor.fillState([...byName.keys()], (name, box) => readBox(reader, required(byName, name), box));
  } finally {
    await reader.close();
  }
}

/** Short runs of a box that lie within so many elements are read at once, with what lies between them. */
const SPAN_ELEMENTS = 2 ** 20;

/** A box of a tensor of the state from the tensors of a checkpoint that store it. */
async function readBox(reader: CheckpointReader, tensor: StoredState, box: Box): Promise<Float32Array> {
  const { starts, length } = boxRuns(tensor.shape, box);
  const values = new Float32Array(starts.length * length);
  let span: Float32Array | undefined;
  for (let run = 0; run < starts.length; ) {
    const start = starts[run] ?? 0;
    const rest = starts.slice(run, run + SPAN_ELEMENTS);
    const beyond = rest.findIndex((each) => each + length > start + SPAN_ELEMENTS);
    const count = Math.max(1, beyond < 0 ? rest.length : beyond);
    if (count === 1) {
      await readRange(reader, tensor, start, values.subarray(run * length, (run + 1) * length));
    } else {
      span ??= new Float32Array(SPAN_ELEMENTS);
      const read = span.subarray(0, (rest[count - 1] ?? 0) + length - start);
      await readRange(reader, tensor, start, read);
      for (const [i, each] of rest.slice(0, count).entries())
        values.set(read.subarray(each - start, each - start + length), (run + i) * length);
    }
    run += count;
  }
  return values;
}

/** Neighbouring elements of a tensor of the state, which may lie in several tensors of the checkpoint. */
async function readRange(
  reader: CheckpointReader,
  { parts }: StoredState,
  first: number,
  target: Float32Array,
): Promise<void> {
  for (const { name, shape, offset } of parts) {
    const from = Math.max(first, offset);
    const to = Math.min(first + target.length, offset + elementCount(shape));
    if (from < to) await reader.read(name, from - offset, target.subarray(from - first, to - first));
  }
}
