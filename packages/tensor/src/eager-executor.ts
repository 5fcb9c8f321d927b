import { WeftError } from '@weft/common';
import { arrayOf, checkAssignment, checkInputs, checkValue, known } from './check-inputs.js';
import { CompletedPhaseRun, type Executor, type PhaseInputs, type PhaseRun, type StateValues } from './executor.js';
import { HostExecutor } from './host-executor.js';
import type { HostArray, HostTensor } from './host-tensor.js';
import { useBackend } from './kernel-backend.js';
import type { PhaseContext, Program, TensorSpec } from './program.js';
import { tf } from './tf.js';

/** Where an eager executor runs its ops. */
export interface EagerHost {
  readonly description: string;
  /** Runs a synchronous tfjs function on the right backend and tidies its tensors away. */
  run<T>(body: () => T): T;
  dispose(): void;
}

/** Runs phases op by op, state on the host between them: for debugging, and where no TensorFlow library can be had. */
export class EagerExecutor extends HostExecutor {
  readonly description: string;
  readonly compiles = false;
  readonly #host: EagerHost;
  protected readonly program: Program;
  readonly #state = new Map<string, HostArray>();

  constructor(host: EagerHost, program: Program) {
    super();
    this.#host = host;
    this.program = program;
    this.description = host.description;
  }

  prepare(): void {
    // Nothing is compiled.
  }

  async run(phaseName: string, inputs: PhaseInputs): Promise<Record<string, HostTensor>> {
    const where = `program ${this.program.name}, phase ${phaseName}`;
    const phase = known(this.program.phases[phaseName], 'phase', phaseName);
    const fed = new Map(checkInputs(where, phase.inputs, inputs).map((each) => [each.name, each]));
    try {
      return this.#host.run(() => {
        const assigned = new Map<string, tf.Tensor>();
        const context: PhaseContext = {
          input: (name) => {
            const { spec, value } = known(fed.get(name), 'input', name);
            return tensorOf(spec, value);
          },
          read: (name) => tensorOf(this.#spec(name), this.#value(name)),
          assign: (name, value) => {
            checkAssignment(name, this.#spec(name), value, assigned.has(name));
            assigned.set(name, value);
          },
        };
        const outputs = phase.run(context);
        const fetched = Object.entries(outputs).map(([name, tensor]) => [name, hostTensor(tensor)] as const);
        const next = [...assigned].map(([name, tensor]) => [name, tensor.dataSync<'float32'>().slice()] as const);
        for (const [name, value] of next) this.#state.set(name, value);
        return Object.fromEntries(fetched);
      });
    } catch (thrown) {
      const error = WeftError.from(thrown);
      throw new WeftError(error.code, `${where}: ${error.message}`, { cause: thrown });
    }
  }

  async begin(phaseName: string, inputs: PhaseInputs): Promise<PhaseRun> {
    const late = Object.keys(this.program.phases[phaseName]?.inputs ?? {}).filter((name) => !(name in inputs));
    if (late.length > 0) {
      throw new WeftError(
        'failed_precondition',
        `program ${this.program.name}, phase ${phaseName} waits for ${late.join(', ')}, which ${this.description} cannot do`,
        { hint: 'run it on the compiled TensorFlow engine' },
      );
    }
    return new CompletedPhaseRun(await this.run(phaseName, inputs));
  }

  async readState(names: readonly string[] = Object.keys(this.program.state)): Promise<Record<string, HostTensor>> {
    return Object.fromEntries(
      names.map((name) => [name, new ArrayTensor(this.#spec(name), this.#value(name).slice())]),
    );
  }

  async writeState(values: StateValues): Promise<void> {
    for (const [name, value] of Object.entries(values)) {
      checkValue(`state ${name} of program ${this.program.name}`, this.#spec(name), value);
      this.#state.set(name, arrayOf(value).slice());
    }
  }

  async dispose(): Promise<void> {
    this.#state.clear();
    this.#host.dispose();
  }

  #spec(name: string): TensorSpec {
    return known(this.program.state[name], 'state', name);
  }

  #value(name: string): HostArray {
    const value = this.#state.get(name);
    if (value === undefined) {
      throw new WeftError('failed_precondition', `state ${name} of program ${this.program.name} was never written`);
    }
    return value;
  }
}

class ArrayTensor implements HostTensor {
  readonly spec: TensorSpec;
  readonly data: HostArray;

  constructor(spec: TensorSpec, data: HostArray) {
    this.spec = spec;
    this.data = data;
  }

  dispose(): void {}
}

function tensorOf(spec: TensorSpec, value: HostTensor | HostArray): tf.Tensor {
  return tf.tensor(arrayOf(value), [...spec.shape], spec.dtype);
}

function hostTensor(tensor: tf.Tensor): HostTensor {
  const data = tensor.dataSync<'float32'>().slice();
  return new ArrayTensor({ shape: tensor.shape, dtype: tensor.dtype === 'float32' ? 'float32' : 'int32' }, data);
}

/** Runs a program op by op in pure JavaScript, in float32: slow, and needs nothing that is not in npm packages of text. */
export function javascriptExecutor(program: Program): Executor {
  const host = {
    description: `tfjs ${tf.version.tfjs} in pure JavaScript, fp32`,
    run<T>(body: () => T): T {
      useBackend('cpu');
      tf.engine().startScope();
      try {
        return body();
      } finally {
        tf.engine().endScope();
      }
    },
    dispose: () => {},
  };
  return new EagerExecutor(host, program);
}
