import { type RecordedOp, required, type ShapeInference, type ValueId, type ValueInfo } from '@weft/tensor';
import type { CApi, OutputPointer } from '../native/c-api.js';
import { Graph } from '../native/handles.js';
import { GraphWriter } from './graph-writer.js';

/** Adds every op to a scratch graph that never runs, and asks TensorFlow's shape functions about its outputs. */
export class GraphShapeInference implements ShapeInference {
  readonly #graph: Graph;
  readonly #writer: GraphWriter;
  readonly #pointers = new Map<ValueId, OutputPointer>();
  #ops = 0;

  constructor(api: CApi) {
    this.#graph = new Graph(api);
    this.#writer = new GraphWriter(api, this.#graph);
  }

  outputsOf(op: RecordedOp, constant?: ValueInfo): readonly ValueInfo[] {
    const inputs = op.inputs.map((value) => this.#pointerOf(value));
    const described = constant === undefined ? op : { ...op, output: constant };
    const operation = this.#writer.add(`op${this.#ops++}`, described, inputs);
    return op.outputs.map((value, index) => {
      const pointer = { operation, index };
      this.#pointers.set(value, pointer);
      return this.#writer.infoOf(pointer);
    });
  }

  dispose(): void {
    this.#writer.dispose();
    this.#graph.dispose();
  }

  #pointerOf(value: ValueId): OutputPointer {
    return required(this.#pointers, value);
  }
}
