import { WeftError } from '@weft/common';
import {
  checkSomeInputs,
  elementCount,
  type HostTensor,
  itemAt,
  type PhaseInputs,
  type PhaseRun,
  type ResidentTensor,
  required,
  residentOnHost,
  type TensorSpec,
} from '@weft/tensor';
import type { CompiledPhase } from './graph/compile-phase.js';
import type { CApi, OutputPointer } from './native/c-api.js';
import { type NativeTensor, toNativeTensor } from './native/handles.js';
import type { PartialRun } from './native/partial-run.js';

/** What a phase under way consists of. */
export interface GraphPhaseRunParts {
  readonly api: CApi;
  /** Program and phase, for messages. */
  readonly where: string;
  /** The inputs that the phase declares, by name. */
  readonly specs: Readonly<Record<string, TensorSpec>>;
  readonly compiled: CompiledPhase;
  readonly run: PartialRun;
}

/** A phase of the compiled graph under way. */
export class GraphPhaseRun implements PhaseRun {
  /** Resolves when the run has ended or failed, so that the session may be closed. */
  readonly over: Promise<void>;
  readonly #parts: GraphPhaseRunParts;
  readonly #missing: Map<string, OutputPointer>;
  readonly #left: Map<string, OutputPointer>;
  #end: () => void = () => {};

  constructor(parts: GraphPhaseRunParts) {
    const { compiled } = parts;
    this.#parts = parts;
    this.#missing = new Map(compiled.inputs);
    this.#left = new Map(compiled.outputNames.map((name, i) => [name, itemAt(compiled.outputs, i)]));
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  async advance(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, HostTensor>> {
    const { api, run, specs, where } = this.#parts;
    const fed = checkSomeInputs(where, specs, inputs);
    for (const name of Object.keys(inputs)) this.#find(this.#missing, name, 'input');
    const fetches = outputs.map((name) => this.#find(this.#left, name, 'output'));
    const owned: NativeTensor[] = [];
    const feeds = fed.map(({ name, spec, value }) => ({
      output: required(this.#missing, name),
      tensor: toNativeTensor(api, spec, value, owned),
    }));
    for (const name of Object.keys(inputs)) this.#missing.delete(name);
    for (const name of outputs) this.#left.delete(name);
    try {
      const tensors = await run.advance(feeds, fetches);
      if (this.#missing.size === 0 && this.#left.size === 0) this.#finish();
      return Object.fromEntries(outputs.map((name, i) => [name, itemAt(tensors, i)]));
    } catch (thrown) {
      this.#finish();
      throw thrown;
    } finally {
      for (const tensor of owned) tensor.dispose();
    }
  }

  async keep(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, ResidentTensor>> {
    return residentOnHost(await this.advance(inputs, outputs));
  }

  async abandon(): Promise<void> {
    if (this.#missing.size === 0 && this.#left.size === 0) return;
    const missing = Object.entries(this.#parts.specs).filter(([name]) => this.#missing.has(name));
    const zeros = Object.fromEntries(missing.map(([name, spec]) => [name, zerosOf(spec)]));
    const rest = await this.advance(zeros, [...this.#left.keys()]);
    for (const tensor of Object.values(rest)) tensor.dispose();
  }

  #find(among: ReadonlyMap<string, OutputPointer>, name: string, kind: string): OutputPointer {
    const pointer = among.get(name);
    if (pointer === undefined)
      throw new WeftError('invalid_argument', `${this.#parts.where}: ${kind} ${name} is unknown or was used before`);
    return pointer;
  }

  #finish(): void {
    this.#missing.clear();
    this.#left.clear();
    this.#parts.run.dispose();
    this.#end();
  }
}

function zerosOf({ shape, dtype }: TensorSpec): Float32Array | Int32Array {
  const length = elementCount(shape);
  return dtype === 'float32' ? new Float32Array(length) : new Int32Array(length);
}
