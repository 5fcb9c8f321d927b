import { WeftError } from '@weft/common';
import { ATTENTION } from './attention.js';
import { checkAssignment, known } from './check-inputs.js';
import { dtypeOfTensorflow, TENSORFLOW_DTYPES } from './dtype.js';
import { KernelBackend } from './kernel-backend.js';
import { isCustomOp, type OpType, recordedOpType } from './ops.js';
import type { PhaseContext, Program, TensorSpec } from './program.js';
import { infoAttrs, type RecordedOp, type Recording, type ValueId, type ValueInfo } from './recording.js';
import { itemAt, required } from './required.js';
import type { ShapeInference } from './shape-inference.js';
import { tf } from './tf.js';
import {
  attrsFromTfjs,
  constantBytes,
  type TfjsAttr,
  type TfjsBinding,
  type TfjsTensorMetadata,
} from './tfjs-binding.js';

/**
 * Records a phase without executing anything: the ops of tfjs's kernels are collected, and the backend's shape inference
 * tells the shapes of their outputs.
 *
 * @param inference follows this recording; the caller disposes it
 * @throws WeftError `internal` naming program, phase and op, for host reads and for ops that the backend refuses;
 *         `invalid_argument` when the program has no such phase, or the phase uses what it does not declare.
 */
export function recordPhase(inference: ShapeInference, program: Program, phaseName: string): Recording {
  const phase = program.phases[phaseName];
  if (phase === undefined) {
    const known = Object.keys(program.phases).join(', ');
    throw new WeftError('invalid_argument', `program ${program.name} has no phase ${phaseName}; it has ${known}`);
  }
  const recorder = new Recorder(inference);
  const backend = new KernelBackend(recorder, { isRecording: true });
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
      const { replaces: replaced } = phase;
      return { program: program.name, phase: phaseName, ...recorder.result(), inputs, outputs, assignments, replaced };
    });
  } catch (thrown) {
    const error = WeftError.from(thrown);
    const op = recorder.current === undefined ? '' : `, op ${recorder.current}`;
    const message = `program ${program.name}, phase ${phaseName}${op}: ${error.message}`;
    const { hint } = error;
    throw new WeftError(error.code, message, hint === undefined ? { cause: thrown } : { cause: thrown, hint });
  }
}

/** Takes the ops of tfjs's kernels as if it executed them, and keeps them. */
class Recorder implements TfjsBinding {
  readonly #inference: ShapeInference;
  readonly #ops: RecordedOp[] = [];
  readonly #values = new Map<ValueId, ValueInfo>();
  #block: number | undefined;
  #blocks = 0;
  /** The op being recorded when something went wrong. */
  current: string | undefined;

  constructor(inference: ShapeInference) {
    this.#inference = inference;
  }

  isUsingGpuDevice(): boolean {
    return false;
  }

  deleteTensor(): void {}

  tensorDataSync(): never {
    throw new WeftError('internal', 'a value was read on the host while recording');
  }

  createTensor(shape: number[], number: number, values: ArrayBufferView | ArrayBuffer): number {
    const dtype = dtypeOfTensorflow(number);
    const constantValue = constantBytes(number, values);
    return this.#add(
      { type: 'Const', attrs: { dtype: { kind: 'type', value: dtype } }, inputs: [], constantValue },
      { shape, dtype },
    ).id;
  }

  executeOp(
    type: string,
    attrs: readonly TfjsAttr[],
    inputs: readonly number[],
    outputs: number,
  ): TfjsTensorMetadata[] {
    this.current = type;
    const recordedAttrs = attrsFromTfjs(attrs);
    const op = { type: recordedOpType(type, recordedAttrs), attrs: recordedAttrs, inputs };
    return isCustomOp(op.type) ? this.#addCustom(op, outputs) : this.#addMany(op, outputs);
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

  #add(op: Omit<RecordedOp, 'outputs'>, constant?: ValueInfo): TfjsTensorMetadata {
    return itemAt(this.#addMany(op, 1, constant), 0);
  }

  #addCustom(op: Omit<RecordedOp, 'outputs'>, outputs: number): TfjsTensorMetadata[] {
    const ids = this.#newIds(outputs);
    const inputs = op.inputs.map((input) => required(this.#values, input));
    const metadata = ids.map((id, index) => {
      const info = customOutput(op.type, inputs, index);
      this.#inference.outputsOf({ type: 'Placeholder', attrs: infoAttrs(info), inputs: [], outputs: [id] });
      return this.#describe(id, info);
    });
    this.#note(op, ids);
    this.current = undefined;
    return metadata;
  }

  #addMany(op: Omit<RecordedOp, 'outputs'>, outputs: number, constant?: ValueInfo): TfjsTensorMetadata[] {
    this.current = op.type;
    const ids = this.#newIds(outputs);
    const infos = this.#inference.outputsOf({ ...op, outputs: ids }, constant);
    const metadata = ids.map((id, index) => this.#describe(id, itemAt(infos, index)));
    this.#note(op, ids);
    this.current = undefined;
    return metadata;
  }

  #newIds(count: number): ValueId[] {
    return Array.from({ length: count }, (_, index) => this.#values.size + index);
  }

  /** Keeps what is known of a value, and says it in tfjs-node's words. */
  #describe(id: ValueId, info: ValueInfo): TfjsTensorMetadata {
    this.#values.set(id, info);
    return { id, shape: [...info.shape], dtype: TENSORFLOW_DTYPES[info.dtype] };
  }

  #note(op: Omit<RecordedOp, 'outputs'>, outputs: readonly ValueId[]): void {
    const block = this.#block === undefined ? {} : { block: this.#block };
    this.#ops.push({ ...op, ...block, outputs });
  }
}

/** What no backend knows: the outputs of Weft's own ops. Shape inference takes them for placeholders. */
function customOutput(type: OpType, inputs: readonly ValueInfo[], index: number): ValueInfo {
  const { shape, dtype } = itemAt(inputs, index);
  if (type !== ATTENTION || index === 0) return { shape, dtype };
  const [batch, length, heads] = itemAt(inputs, 0).shape as readonly [number, number, number];
  return { shape: [batch, heads, length], dtype: 'float32' };
}

function specAttrs({ shape, dtype }: TensorSpec): RecordedOp['attrs'] {
  return infoAttrs({ shape, dtype });
}
