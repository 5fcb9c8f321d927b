import { type Box, wholeBox } from './box.js';
import type { HostTensor } from './host-tensor.js';
import type { TensorSpec } from './program.js';

/**
 * An output of a phase that stays where the engine computed it: another phase of the same engine takes it as an input
 * without a copy. An engine over several devices holds it in parts.
 */
export interface ResidentTensor {
  readonly spec: TensorSpec;
  /** Boxes that together are the whole, each once, in an order that depends on the spec and the devices alone. */
  readonly parts: readonly ResidentPart[];
  /**
   * Lends the memory in which devices hold the tensor, once it is computed, and takes it back when `work` has settled. What
   * is written there meanwhile is the tensor. Absent where the tensor lies on the host.
   */
  readonly lend?: <T>(work: (memory: readonly DeviceSpan[]) => Promise<T>) => Promise<T>;
  dispose(): void;
}

/** Elements in the memory of one device: a shard, in the order in which the device holds it. */
export interface DeviceSpan {
  /** A device of this process, from 0. */
  readonly device: number;
  readonly address: bigint;
  readonly elements: number;
}

/** A part of a resident tensor. */
export interface ResidentPart {
  readonly box: Box;
  /** Bytes that `read` takes on the host; 0 where the part lies there already. */
  readonly hostBytes: number;
  /** The elements, row-major, once they are computed: a copy, or a view where the part lies on the host. */
  read(): Promise<HostTensor>;
  /** Puts elements in the place of the part, on every device that has it. Each part is written once, or none is. */
  write(values: HostTensor): Promise<void>;
}

/** An output on the host as a resident one. */
export class HostResident implements ResidentTensor {
  readonly tensor: HostTensor;
  readonly parts: readonly ResidentPart[];

  constructor(tensor: HostTensor) {
    const { spec, data } = tensor;
    this.tensor = tensor;
    const view = { spec, data, dispose: () => {} };
    const write = async (values: HostTensor) => {
      if (values.data !== data) data.set(values.data);
    };
    this.parts = [{ box: wholeBox(spec.shape), hostBytes: 0, read: async () => view, write }];
  }

  get spec(): TensorSpec {
    return this.tensor.spec;
  }

  dispose(): void {
    this.tensor.dispose();
  }
}

/** Outputs on the host as resident ones. */
export function residentOnHost(outputs: Readonly<Record<string, HostTensor>>): Record<string, ResidentTensor> {
  return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, new HostResident(tensor)]));
}
