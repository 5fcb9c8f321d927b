import { type Box, wholeBox } from './box.js';
import type { Executor, PhaseInputs, PhaseRun, StatePart, StateValues } from './executor.js';
import type { HostArray, HostTensor } from './host-tensor.js';
import { elementCount, type Program, type TensorSpec } from './program.js';
import { required } from './required.js';
import { HostResident, type ResidentTensor, residentOnHost } from './resident.js';

export type FillState = Parameters<Executor['fillState']>[1];

/** An executor in the memory of the host, which holds every variable and output whole: its one part is all of it. */
export abstract class HostExecutor implements Executor {
  abstract readonly description: string;
  abstract readonly compiles: boolean;
  protected abstract readonly program: Program;

  abstract run(phase: string, inputs: PhaseInputs): Promise<Record<string, HostTensor>>;
  abstract begin(phase: string, inputs: PhaseInputs): Promise<PhaseRun>;
  abstract prepare(phases: readonly string[]): void;
  abstract readState(names?: readonly string[]): Promise<Record<string, HostTensor>>;
  abstract writeState(values: StateValues): Promise<void>;
  abstract dispose(): Promise<void>;

  async runResident(phase: string, inputs: PhaseInputs): Promise<Record<string, ResidentTensor>> {
    return residentOnHost(await this.run(phase, inputs));
  }

  async deviceCount(): Promise<number> {
    return 0;
  }

  async allocate(spec: TensorSpec): Promise<ResidentTensor> {
    const elements = elementCount(spec.shape);
    const data = spec.dtype === 'int32' ? new Int32Array(elements) : new Float32Array(elements);
    return new HostResident({ spec, data, dispose: () => {} });
  }

  async boxesOf({ shape }: TensorSpec): Promise<readonly Box[]> {
    return [wholeBox(shape)];
  }

  async copyState(names: readonly string[]): Promise<Record<string, readonly StatePart[]>> {
    return wholeParts(await this.readState(names));
  }

  async prepareCopy(_names: readonly string[]): Promise<void> {
    // Most engines have nothing to prepare.
  }

  fillState(names: readonly string[], valuesOf: FillState): Promise<void> {
    return fillWhole(this.program, names, valuesOf, (values) => this.writeState(values));
  }
}

/** Bounds the memory that values take on their way into the engine. */
const GROUP_ELEMENTS = 16 * 2 ** 20;

/** Copies of variables as their one part. */
function wholeParts(copies: Readonly<Record<string, HostTensor>>): Record<string, readonly StatePart[]> {
  const parts = Object.entries(copies).map(([name, copy]) => {
    const part: StatePart = { box: wholeBox(copy.spec.shape), values: Promise.resolve(copy) };
    return [name, [part]] as const;
  });
  return Object.fromEntries(parts);
}

/** `fillState` by means of `writeState`, some variables at a time. */
async function fillWhole(
  { state }: Pick<Program, 'state'>,
  names: readonly string[],
  valuesOf: (name: string, box: Box) => Promise<HostArray>,
  write: (values: StateValues) => Promise<void>,
): Promise<void> {
  const specs = new Map(Object.entries(state));
  let group: Record<string, HostArray> = {};
  let elements = 0;
  for (const name of names) {
    const { shape } = required(specs, name);
    group[name] = await valuesOf(name, wholeBox(shape));
    elements += elementCount(shape);
    if (elements < GROUP_ELEMENTS) continue;
    await write(group);
    group = {};
    elements = 0;
  }
  await write(group);
}
