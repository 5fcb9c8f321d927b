import { WeftError } from '@weft/common';
import { type Attrs, dtypeOfTensorflow, infoAttrs, type ValueInfo } from '@weft/tensor';
import type { CApi, OutputPointer, Pointer } from '../native/c-api.js';
import { type Graph, NativeTensor, Status } from '../native/handles.js';
import { type AttrTarget, setAttr } from '../native/set-attr.js';
import { isInferredAttr, opArguments } from './op-inputs.js';

/** An op as TensorFlow takes it: one of a recording, one of TensorFlow's alone, or a function of the graph. */
export interface GraphOp {
  readonly type: string;
  readonly attrs: Attrs;
  /** Of a `Const`: its bytes. */
  readonly constantValue?: Uint8Array;
  /** Of a `Const`: its shape and type. */
  readonly output?: ValueInfo;
}

/** Adds operations to a TensorFlow graph and asks its shape functions what they yield. */
export class GraphWriter {
  readonly #api: CApi;
  readonly #graph: Graph;
  readonly #status: Status;
  readonly #target: AttrTarget;

  constructor(api: CApi, graph: Graph) {
    this.#api = api;
    this.#graph = graph;
    this.#status = new Status(api);
    this.#target = { api, setters: 'TF_SetAttr', status: this.#status };
  }

  /**
   * Adds one op.
   * @throws WeftError `internal` with TensorFlow's reason and the shapes of the inputs.
   */
  add(name: string, op: GraphOp, inputs: readonly OutputPointer[], controlInputs: readonly Pointer[] = []): Pointer {
    const api = this.#api;
    const description: Pointer = api.TF_NewOperation(this.#graph.pointer, op.type, name);
    for (const argument of opArguments(op.type, inputs)) {
      if ('single' in argument) api.TF_AddInput(description, argument.single);
      else api.TF_AddInputList(description, argument.list, argument.list.length);
    }
    for (const control of controlInputs) api.TF_AddControlInput(description, control);
    for (const [attr, value] of Object.entries(op.attrs)) {
      if (!isInferredAttr(op.type, attr)) setAttr(this.#target, description, attr, value);
    }
    if (op.constantValue !== undefined && op.output !== undefined)
      this.#setConstant(description, op.output, op.constantValue);
    const operation: Pointer = api.TF_FinishOperation(description, this.#status.pointer);
    this.#status.check(`op ${op.type} over [${inputs.map((input) => this.#describe(input)).join('; ')}]`);
    return operation;
  }

  /** Adds a value that is given from outside. */
  placeholder(name: string, info: ValueInfo): OutputPointer {
    return { operation: this.add(name, { type: 'Placeholder', attrs: infoAttrs(info) }, []), index: 0 };
  }

  /** Shape and type of an output. @throws WeftError `internal` when the shape is not static. */
  infoOf(output: OutputPointer): ValueInfo {
    const shape = this.#shapeOf(output);
    if (shape === undefined) throw new WeftError('internal', 'the rank is not known before the run');
    if (shape.some((dimension) => dimension < 0)) {
      throw new WeftError('internal', `the shape [${shape.join(', ')}] is not known before the run`);
    }
    return { shape, dtype: dtypeOfTensorflow(this.#api.TF_OperationOutputType(output)) };
  }

  dispose(): void {
    this.#status.dispose();
  }

  /** Sizes that are not known before the run are −1; undefined when not even their number is known. */
  #shapeOf(output: OutputPointer): readonly number[] | undefined {
    const api = this.#api;
    const rank: number = api.TF_GraphGetTensorNumDims(this.#graph.pointer, output, this.#status.pointer);
    this.#status.check('reading a shape');
    if (rank < 0) return undefined;
    const shape: number[] = new Array(rank).fill(0);
    if (rank > 0) api.TF_GraphGetTensorShape(this.#graph.pointer, output, shape, rank, this.#status.pointer);
    this.#status.check('reading a shape');
    return shape.map(Number);
  }

  #describe(input: OutputPointer): string {
    const shape = this.#shapeOf(input) ?? ['?'];
    return `${dtypeOfTensorflow(this.#api.TF_OperationOutputType(input))}[${shape.join(',')}]`;
  }

  #setConstant(description: Pointer, info: ValueInfo, constantValue: Uint8Array): void {
    const tensor = NativeTensor.allocate(this.#api, info.dtype, info.shape);
    try {
      tensor.bytes.set(constantValue);
      this.#api.TF_SetAttrTensor(description, 'value', tensor.pointer, this.#status.pointer);
      this.#status.check('setting a constant');
    } finally {
      tensor.dispose();
    }
  }
}
