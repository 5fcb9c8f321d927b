// `CompileOptionsProto` of XLA in protobuf's wire format, by hand: the few fields that Weft sets.

/** Fields of `CompileOptionsProto`, `ExecutableBuildOptionsProto` and `DebugOptions`. */
const FIELD = { buildOptions: 3, numReplicas: 4, numPartitions: 5, debugOptions: 3, gpuCudaDataDir: 61 } as const;

export interface CompileOptions {
  /** Folder with `nvvm/libdevice` and `bin/ptxas`, where the CUDA compiler finds them; only for NVIDIA. */
  readonly cudaDirectory?: string | undefined;
}

/** Compiles for one device. */
export function encodeCompileOptions({ cudaDirectory }: CompileOptions = {}): Uint8Array {
  const debug =
    cudaDirectory === undefined ? [] : bytesField(FIELD.gpuCudaDataDir, new TextEncoder().encode(cudaDirectory));
  const build = [
    ...(debug.length === 0 ? [] : bytesField(FIELD.debugOptions, debug)),
    ...intField(FIELD.numReplicas, 1),
    ...intField(FIELD.numPartitions, 1),
  ];
  return Uint8Array.from(bytesField(FIELD.buildOptions, build));
}

function intField(field: number, value: number): number[] {
  return [...varint(field << 3), ...varint(value)];
}

function bytesField(field: number, value: ArrayLike<number>): number[] {
  return [...varint((field << 3) | 2), ...varint(value.length), ...Array.from(value)];
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
