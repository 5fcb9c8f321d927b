import { WeftError } from '@weft/common';
import { ADAM_UPDATE } from './adam-update.js';
import { GraphWriter } from './graph/graph-writer.js';
import { infoAttrs, type RecordedOp, type Recording, type ValueId, type ValueInfo } from './graph/recording.js';
import type { CApi, OutputPointer } from './native/c-api.js';
import { DataType } from './native/data-type.js';
import { Graph } from './native/handles.js';
import { NativeBackend } from './native-backend.js';
import { checkAssignment, known } from './phase-context.js';
import type { PhaseContext, Program, TensorSpec } from './program.js';
import { BLOCK_GRADIENT } from './recomputable.js';
import { tf } from './tf.js';
import {
  attrsFromTfjs,
  constantBytes,
  type TfjsAttr,
  type TfjsBinding,
  type TfjsTensorMetadata,
} from './tfjs-binding.js';

/**
 * Records a phase without executing anything: the kernels' ops are noted, and TensorFlow's shape functions
 * tell the outputs' shapes.
 * @throws WeftError `internal` naming program, phase and op, for host reads and for ops TensorFlow refuses.
 */
export function recordPhase(api: CApi, program: Program, phaseName: string): Recording {
  const phase = program.phases[phaseName];
  if (phase === undefined) {
    const known = Object.keys(program.phases).join(', ');
    throw new WeftError('invalid_argument', `program ${program.name} has no phase ${phaseName}; it has ${known}`);
  }
  const recorder = new Recorder(api);
  const backend = new NativeBackend(recorder, { isRecording: true });
  try {
    return backend.run(() => {
      const inputs: Record<string, ValueId> = {};
      const inputTensors = new Map<string, tf.Tensor>();
      // Recorded where it is first read, so that a late input comes after the outputs it is the answer to.
      const input = (name: string) => {
        const earlier = inputTensors.get(name);
        if (earlier !== undefined) return earlier;
        const metadata = recorder.placeholder(known(phase.inputs[name], 'input', name));
        const tensor = tf.keep(backend.tensorOf(metadata));
        inputs[name] = metadata.id;
        inputTensors.set(name, tensor);
        return tensor;
      };
      const reads = new Map<string, tf.Tensor>();
      const assigned = new Map<string, tf.Tensor>();
      const context: PhaseContext = {
        input,
        read: (name) => {
          const read =
            reads.get(name) ?? backend.tensorOf(recorder.read(name, known(program.state[name], 'state', name)));
          reads.set(name, read);
          return read;
        },
        assign: (name, value) => {
          checkAssignment(name, known(program.state[name], 'state', name), value, assigned.has(name));
          assigned.set(name, value);
        },
      };
      const results = phase.run(context);
      for (const name of Object.keys(phase.inputs)) input(name);
      const idsOf = (tensors: Iterable<readonly [string, tf.Tensor]>) =>
        Object.fromEntries([...tensors].map(([name, tensor]) => [name, backend.idOf(tensor)]));
      const outputs = idsOf(Object.entries(results));
      const assignments = idsOf(assigned);
      tf.dispose([...inputTensors.values()]);
      return { program: program.name, phase: phaseName, ...recorder.result(), inputs, outputs, assignments };
    });
  } catch (thrown) {
    const error = WeftError.from(thrown);
    const op = recorder.current === undefined ? '' : `, op ${recorder.current}`;
    throw new WeftError(error.code, `program ${program.name}, phase ${phaseName}${op}: ${error.message}`, {
      cause: thrown,
    });
  } finally {
    recorder.dispose();
  }
}

/** Ops of ours that TensorFlow does not know. */
const PSEUDO_OPS = new Set([ADAM_UPDATE, BLOCK_GRADIENT]);

class Recorder implements TfjsBinding {
  readonly #graph: Graph;
  readonly #writer: GraphWriter;
  readonly #ops: RecordedOp[] = [];
  readonly #values = new Map<ValueId, ValueInfo>();
  readonly #pointers: OutputPointer[] = [];
  #block: number | undefined;
  #blocks = 0;
  /** The op being recorded when something went wrong. */
  current: string | undefined;

  constructor(api: CApi) {
    this.#graph = new Graph(api);
    this.#writer = new GraphWriter(api, this.#graph);
  }

  isUsingGpuDevice(): boolean {
    return false;
  }

  deleteTensor(): void {}

  tensorDataSync(): never {
    throw new WeftError('internal', 'a value was read on the host while recording');
  }

  createTensor(shape: number[], dtype: number, values: ArrayBufferView | ArrayBuffer): number {
    const payload = constantBytes(dtype, values);
    return this.#add(
      { type: 'Const', attrs: { dtype: { kind: 'type', value: dtype } }, inputs: [], payload },
      { shape, dataType: dtype },
    ).id;
  }

  executeOp(
    type: string,
    attrs: readonly TfjsAttr[],
    inputs: readonly number[],
    outputs: number,
  ): TfjsTensorMetadata[] {
    const op = { type, attrs: attrsFromTfjs(attrs), inputs };
    return PSEUDO_OPS.has(type) ? this.#addPseudo(op, outputs) : this.#addMany(op, outputs);
  }

  beginBlock(): number {
    if (this.#block !== undefined) throw new WeftError('internal', 'a recomputable block lies inside another one');
    this.#block = this.#blocks++;
    return this.#block;
  }

  endBlock(): void {
    this.#block = undefined;
  }

  placeholder(spec: TensorSpec): TfjsTensorMetadata {
    return this.#add({ type: 'Placeholder', attrs: specAttrs(spec), inputs: [] });
  }

  /** A variable's value. The scratch graph only needs its shape, so a placeholder stands for it there. */
  read(variable: string, spec: TensorSpec): TfjsTensorMetadata {
    return this.#add({ type: 'Placeholder', attrs: specAttrs(spec), inputs: [], variable });
  }

  result(): Pick<Recording, 'ops' | 'values'> {
    return { ops: this.#ops, values: this.#values };
  }

  dispose(): void {
    this.#writer.dispose();
    this.#graph.dispose();
  }

  #add(op: Omit<RecordedOp, 'outputs'>, constant?: ValueInfo): TfjsTensorMetadata {
    return this.#addMany(op, 1, constant)[0] as TfjsTensorMetadata;
  }

  /** TensorFlow has no such op on values: each result looks like the input in its place. */
  #addPseudo(op: Omit<RecordedOp, 'outputs'>, outputs: number): TfjsTensorMetadata[] {
    const metadata = op.inputs.slice(0, outputs).map((input) => {
      const info = this.#values.get(input) as ValueInfo;
      const id = this.#pointers.push(this.#pointers[input] as OutputPointer) - 1;
      this.#values.set(id, info);
      return { id, shape: [...info.shape], dtype: info.dataType };
    });
    this.#note(op, metadata);
    return metadata;
  }

  #addMany(op: Omit<RecordedOp, 'outputs'>, outputs: number, constant?: ValueInfo): TfjsTensorMetadata[] {
    this.current = op.type;
    const inputs = op.inputs.map((id) => this.#pointers[id] as OutputPointer);
    const described = constant === undefined ? op : { ...op, output: constant };
    const operation = this.#writer.add(`op${this.#ops.length}`, described, inputs);
    const metadata = Array.from({ length: outputs }, (_, index) => {
      const pointer = { operation, index };
      const info = this.#writer.infoOf(pointer);
      const id = this.#pointers.push(pointer) - 1;
      this.#values.set(id, info);
      return { id, shape: [...info.shape], dtype: info.dataType };
    });
    this.#note(op, metadata);
    this.current = undefined;
    return metadata;
  }

  #note(op: Omit<RecordedOp, 'outputs'>, outputs: readonly TfjsTensorMetadata[]): void {
    const block = this.#block === undefined ? {} : { block: this.#block };
    this.#ops.push({ ...op, ...block, outputs: outputs.map(({ id }) => id) });
  }
}

function specAttrs({ shape, dtype }: TensorSpec): RecordedOp['attrs'] {
  return infoAttrs({ shape, dataType: DataType[dtype] });
}
