import { type Manifest, type NamedTensor, readManifest, readTensors } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import type { StoredPart, TaskParameter } from '@weft/tasks';
import { type Executor, elementCount, type Program, type TensorSpec } from '@weft/tensor';
import { momentNames } from './optimizer/adamw.js';
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

/** The state of a program that trains these parameters: weights and their moments, all of which checkpoints hold. */
export function trainedState(
  parameters: readonly TaskParameter[],
  isRemote: CheckpointLayout['isRemote'],
): Pick<StatefulProgram, 'state' | 'layout'> {
  const weights = parameters.map(({ name, shape, axes, stored }) => ({ name, shape, axes, parts: stored }));
  const moments = parameters.flatMap(({ name, shape, axes, stored }) => {
    const [first, second] = momentNames(name);
    const partsOf = (moment: 0 | 1) => stored.map((part) => ({ ...part, name: momentNames(part.name)[moment] }));
    return [
      { name: first, shape, axes, parts: partsOf(0) },
      { name: second, shape, axes, parts: partsOf(1) },
    ];
  });
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
  /** The checkpoint whose weights a fresh run begins with; null: none, the seed alone. */
  readonly initFrom: string | null;
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

  /**
   * Keeps, initialises or loads the state, according to the plan.
   * @throws `failed_precondition` when the plan goes on from memory and this process has another state or none;
   *         what reading a checkpoint throws.
   */
  async prepare({ state, firstStep }: Pick<GenerationPlan, 'state' | 'firstStep'>): Promise<void> {
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
  function* initial(): Iterable<NamedArray> {
    for (const [name, { shape }] of Object.entries(program.state))
      yield [name, parameters.get(name)?.initialValue(seed) ?? new Float32Array(elementCount(shape))];
  }
  await writeInGroups(executor, initial());
}

/**
 * Begins a run from the weights of another run's checkpoint; the moments are 0. A MoE model may begin from a dense one:
 * its experts become copies of the dense feed-forward, its routers begin from the seed.
 * @throws WeftError `not_found` or `corrupt_data` from the checkpoint, `invalid_argument` when it is neither of this
 *         model nor of its dense backbone.
 */
export async function initialiseFrom(
  executor: Executor,
  program: StatefulProgram,
  seed: number,
  directory: string,
): Promise<void> {
  const refuse = (difference: string) =>
    new WeftError('invalid_argument', `the run cannot begin from checkpoint ${directory}: ${difference}`, {
      hint: 'name a checkpoint of a model with the same widths and layers',
    });
  const manifest = await readManifest(directory);
  const available = new Set(manifest.tensors.map(({ name }) => name));
  const assembly = new Assembly(refuse);
  for (const { name, shape, stored } of program.parameters) {
    const parts = stored.flatMap((part) => {
      const source = part.initialSources.find((each) => available.has(each));
      if (source === undefined && !part.maySeed) throw refuse(`it lacks ${part.name}`);
      return source === undefined ? [] : [{ ...part, name: source }];
    });
    assembly.add({ name, shape, parts });
  }
  await initialiseState(executor, program, seed);
  await writeInGroups(executor, assembly.fill(readTensors(directory, manifest, (name) => assembly.needs(name))));
}

/**
 * Loads a checkpoint, whatever number of ranks and placement of experts wrote it.
 * @throws WeftError `corrupt_data` from the checkpoint, `invalid_argument` when its tensors are not the program's.
 */
async function loadState(
  executor: Executor,
  { layout }: StatefulProgram,
  directory: string,
  manifest: Manifest,
): Promise<void> {
  const assembly = new Assembly(
    (difference) =>
      new WeftError('invalid_argument', `checkpoint ${directory} is of another model: ${difference}`, {
        hint: 'resume it with the model settings of the run that wrote it',
      }),
  );
  for (const tensor of layout.tensors) assembly.add(tensor);
  const isOurs = (name: string) => assembly.needs(name) || !layout.isRemote(name);
  await writeInGroups(executor, assembly.fill(readTensors(directory, manifest, isOurs)));
}

/** A tensor of the engine, and how many of its parts were not read yet. */
interface Target {
  readonly name: string;
  readonly shape: readonly number[];
  values: Float32Array | undefined;
  missing: number;
}

/** Puts tensors of the engine together from those of a checkpoint, in the order in which the latter are read. */
class Assembly {
  /** By tensor of the checkpoint; a dense feed-forward may go to several experts. */
  readonly #uses = new Map<
    string,
    { readonly shape: readonly number[]; readonly offset: number; readonly target: Target }[]
  >();
  readonly #refuse: (difference: string) => WeftError;

  constructor(refuse: (difference: string) => WeftError) {
    this.#refuse = refuse;
  }

  add({ name, shape, parts }: StoredState): void {
    const target: Target = { name, shape, values: undefined, missing: parts.length };
    for (const { name: source, shape, offset } of parts)
      this.#uses.set(source, [...(this.#uses.get(source) ?? []), { shape, offset, target }]);
  }

  /** Whether a tensor of the checkpoint is still to be read. */
  needs(source: string): boolean {
    return this.#uses.has(source);
  }

  /** Gives every tensor as soon as it is whole. @throws when one has another shape, is not known, or is missing. */
  async *fill(stored: AsyncIterable<NamedTensor>): AsyncIterable<NamedArray> {
    for await (const { name, shape, data } of stored) {
      const uses = this.#uses.get(name);
      if (uses === undefined) throw this.#refuse(`it holds ${name}, which the model does not have`);
      this.#uses.delete(name);
      for (const { shape: expected, offset, target } of uses) {
        if (expected.join() !== shape.join())
          throw this.#refuse(`${name} is [${shape.join(', ')}] there and [${expected.join(', ')}] in the model`);
        if (target.shape.length === shape.length) target.values = data;
        else {
          target.values ??= new Float32Array(elementCount(target.shape));
          target.values.set(data, offset);
        }
        if (--target.missing > 0) continue;
        yield [target.name, target.values];
        target.values = undefined;
      }
    }
    const [missing] = this.#uses.keys();
    if (missing !== undefined) throw this.#refuse(`it lacks ${missing}`);
  }
}

type NamedArray = readonly [name: string, values: Float32Array];

/** Bounds the memory that values take on their way into the engine. */
const GROUP_ELEMENTS = 16 * 2 ** 20;

/** Writes tensors into the engine, some at a time. */
async function writeInGroups(
  executor: Executor,
  values: Iterable<NamedArray> | AsyncIterable<NamedArray>,
): Promise<void> {
  let group: Record<string, Float32Array> = {};
  let elements = 0;
  for await (const [name, array] of values) {
    group[name] = array;
    elements += array.length;
    if (elements < GROUP_ELEMENTS) continue;
    await executor.writeState(group);
    group = {};
    elements = 0;
  }
  await executor.writeState(group);
}
