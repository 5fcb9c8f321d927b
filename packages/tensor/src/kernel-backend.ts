import { createRequire } from 'node:module';
import { refuse, WeftError } from '@weft/common';
import { type DType, TENSORFLOW_DTYPES } from './dtype.js';
import type { AttrValue, OpType } from './ops.js';
import { itemAt } from './required.js';
import { tf } from './tf.js';
import { BINDING_CONSTANTS, type TfjsAttr, type TfjsBinding, type TfjsTensorMetadata } from './tfjs-binding.js';

const PACKAGE = '@tensorflow/tfjs-node-gpu';
/** tfjs-node's kernels look their backend up under this name. */
const NAME = 'tensorflow';

/** An attribute of a raw op, in the words of TensorFlow's op definitions. */
export type RawAttr =
  | { readonly type: DType }
  | { readonly int: number }
  | { readonly float: number }
  | { readonly bool: boolean };

/** tfjs's TensorFlow kernels over a binding of ours, as a tfjs backend that exists while `run` runs. */
export class KernelBackend {
  /** Whether ops are noted instead of executed. */
  readonly isRecording: boolean;
  readonly #backend: TfjsNodeBackend;
  readonly #binding: TfjsBinding;

  constructor(binding: TfjsBinding, { isRecording }: { readonly isRecording: boolean }) {
    const Backend = loadKernels();
    this.isRecording = isRecording;
    this.#binding = binding;
    this.#backend = new Backend({ ...BINDING_CONSTANTS, ...bound(binding) }, PACKAGE);
  }

  /** Runs a synchronous tfjs function on this backend and puts the former one back. Its tensors are tidied away. */
  run<T>(body: () => T): T {
    if (active !== undefined) throw new WeftError('internal', 'a phase cannot run inside another one');
    const before = tf.getBackend();
    tf.registerBackend(NAME, () => this.#backend);
    active = this;
    useBackend(NAME);
    tf.engine().startScope();
    try {
      return body();
    } finally {
      tf.engine().endScope();
      active = undefined;
      if (before) useBackend(before);
      tf.removeBackend(NAME);
    }
  }

  /** The binding's number for a tensor; constants reach the binding at this point. */
  idOf(tensor: tf.Tensor): number {
    return itemAt(this.#backend.getInputTensorIds([tensor]), 0);
  }

  /** A tfjs tensor over a value that the binding made. */
  tensorOf(metadata: TfjsTensorMetadata): tf.Tensor {
    return this.#backend.createOutputTensor(metadata);
  }

  /** Runs a part of the function whose ops are noted as one block, and tells the block's number. Blocks do not nest. */
  inBlock<T>(body: () => T): { readonly block: number; readonly result: T } {
    const block = this.#binding.beginBlock?.() ?? 0;
    try {
      return { block, result: body() };
    } finally {
      this.#binding.endBlock?.();
    }
  }

  /**
   * Runs an op that tfjs has no function for, and returns its one output. The tape does not see it: wrap it in
   * `customGradient`.
   */
  rawOp(type: OpType, inputs: readonly tf.TensorInfo[], attrs: Readonly<Record<string, RawAttr>>): tf.Tensor {
    return itemAt(this.rawOutputs(type, inputs, 1, attrs), 0);
  }

  /** The same for an op of several outputs. */
  rawOutputs(
    type: OpType,
    inputs: readonly tf.TensorInfo[],
    outputs: number,
    attrs: Readonly<Record<string, RawAttr>>,
  ): tf.Tensor[] {
    const tfjsAttrs = Object.entries(attrs).map(([name, attr]) => tfjsAttr(name, rawAttrValue(attr)));
    return this.#backend.executeMultipleOutputs(type, tfjsAttrs, [...inputs], outputs);
  }
}

let active: KernelBackend | undefined;

/** The backend that the running tfjs function works on; undefined on tfjs's own backends. */
export function kernelBackend(): KernelBackend | undefined {
  return active;
}

/** Makes a registered backend whose factory is synchronous the current one. */
export function useBackend(name: string): void {
  // The promise is already settled in effect: setBackend switches before its first await.
  void tf.setBackend(name);
}

function rawAttrValue(attr: RawAttr): AttrValue {
  if ('type' in attr) return { kind: 'type', value: attr.type };
  if ('int' in attr) return { kind: 'int', value: attr.int };
  if ('float' in attr) return { kind: 'float', value: attr.float };
  return { kind: 'bool', value: attr.bool };
}

function tfjsAttr(name: string, attr: AttrValue): TfjsAttr {
  const types = { type: 4, bool: 3, int: 1, ints: 1, float: 2, string: 0, shape: 5 } as const;
  return { name, type: types[attr.kind], value: attr.kind === 'type' ? TENSORFLOW_DTYPES[attr.value] : attr.value };
}

/** The kernels call the binding's functions without a receiver we control, so each is bound. */
function bound(binding: TfjsBinding): TfjsBinding {
  return {
    isUsingGpuDevice: () => binding.isUsingGpuDevice(),
    createTensor: (shape, dtype, values) => binding.createTensor(shape, dtype, values),
    deleteTensor: (id) => binding.deleteTensor(id),
    tensorDataSync: (id) => binding.tensorDataSync(id),
    executeOp: (type, attrs, inputs, outputs) => binding.executeOp(type, attrs, inputs, outputs),
  };
}

/** What Weft uses of tfjs-node's backend, methods included that its types call private. */
interface TfjsNodeBackend extends tf.KernelBackend {
  getInputTensorIds(tensors: tf.Tensor[]): number[];
  createOutputTensor(metadata: TfjsTensorMetadata): tf.Tensor;
  executeMultipleOutputs(type: string, attrs: TfjsAttr[], inputs: tf.TensorInfo[], outputs: number): tf.Tensor[];
}

type BackendClass = new (binding: object, packageName: string) => TfjsNodeBackend;
let kernels: BackendClass | undefined;

/**
 * Loads tfjs-node's kernels, which are plain JavaScript, when the first program is recorded or run on them. The index
 * of the package is left out: it would look for a compiled addon.
 */
function loadKernels(): BackendClass {
  if (kernels !== undefined) return kernels;
  const require = createRequire(import.meta.url);
  const util: Record<string, unknown> = require('node:util');
  // tfjs-node uses these; Node 23 removed them.
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
  util.isString ??= (value: unknown) => typeof value === 'string';
  require(`${PACKAGE}/dist/register_all_kernels`);
  const loaded: { readonly NodeJSKernelBackend: BackendClass } = require(`${PACKAGE}/dist/nodejs_kernel_backend`);
  registerOwnGather();
  kernels = loaded.NodeJSKernelBackend;
  return kernels;
}

/** tfjs-node's gather reads the indices on the host to check them; TensorFlow checks them anyway. */
function registerOwnGather(): void {
  tf.unregisterKernel('GatherV2', NAME);
  tf.registerKernel({
    kernelName: 'GatherV2',
    backendName: NAME,
    kernelFunc: ({ inputs: { x, indices }, attrs }) => {
      if (active === undefined || x === undefined || indices === undefined) refuse('internal', 'a gather lacks inputs');
      return active.rawOp('GatherV2', [x, indices, tf.scalar(Number(attrs?.axis), 'int32')], {
        batch_dims: { int: Number(attrs?.batchDims ?? 0) },
        Tparams: { type: x.dtype === 'int32' ? 'int32' : 'float32' },
        Tindices: { type: 'int32' },
        Taxis: { type: 'int32' },
      });
    },
  });
}
