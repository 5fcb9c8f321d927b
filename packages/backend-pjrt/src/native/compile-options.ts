import { requireDeepStack } from '@weft/native';
import { STRUCTS } from './functions.js';
import { Struct, textBytes } from './struct.js';

/** How a program is compiled. */
export interface CompileOptions {
  /** Folder with `nvvm/libdevice` and `bin/ptxas`, where the CUDA compiler finds them; only for NVIDIA. */
  readonly cudaDirectory?: string | undefined;
  /** Devices that a program with shardings is cut for by XLA's partitioner, Shardy; default 1. */
  readonly partitions?: number | undefined;
  /** Flags of XLA by their names, such as `xla_gpu_autotune_level`. */
  readonly flags?: Readonly<Record<string, number | boolean | string>> | undefined;
}

/** The arguments of a compilation of StableHLO text, as both functions that compile take them. */
export function compileArguments(stablehlo: string, options?: CompileOptions) {
  requireDeepStack();
  const [code, format, encoded] = [textBytes(stablehlo), textBytes('mlir'), encodeCompileOptions(options)];
  const program = new Struct(STRUCTS.Program, { code, codeSize: code.length, format, formatSize: format.length });
  return { program, options: encoded, optionsSize: encoded.length };
}

// `CompileOptionsProto` of XLA in protobuf's wire format, by hand: the few fields that Weft sets.

/**
 * Fields of `CompileOptionsProto` (`buildOptions`, `flags`), `ExecutableBuildOptionsProto`, `DeviceAssignmentProto`, a
 * map's entry and `OptionOverrideProto`.
 */
const FIELD = {
  buildOptions: 3,
  flags: 7,
  numReplicas: 4,
  numPartitions: 5,
  useSpmdPartitioning: 6,
  deviceAssignment: 9,
  useShardyPartitioner: 19,
  assignment: { replicaCount: 1, computationCount: 2, computationDevices: 3, replicaDeviceIds: 1 },
  entry: { key: 1, value: 2 },
  override: { text: 1, bool: 2, int: 3 },
} as const;

function encodeCompileOptions({ cudaDirectory, partitions = 1, flags = {} }: CompileOptions = {}): Uint8Array {
  const build = [
    ...intField(FIELD.numReplicas, 1),
    ...intField(FIELD.numPartitions, partitions),
    ...(partitions === 1 ? [] : partitionerFields(partitions)),
  ];
  // By name, over XLA's defaults; in xla.proto the folder is field 61 of DebugOptions. A `DebugOptions` of ours would replace the defaults, and with them most of the optimizer.
  const all = cudaDirectory === undefined ? flags : { ...flags, xla_gpu_cuda_data_dir: cudaDirectory };
  const overrides = Object.entries(all).flatMap(([name, value]) =>
    bytesField(FIELD.flags, [
      ...bytesField(FIELD.entry.key, textBytes(name)),
      ...bytesField(FIELD.entry.value, overrideField(value)),
    ]),
  );
  return Uint8Array.from([...bytesField(FIELD.buildOptions, build), ...overrides]);
}

/** Partition p runs on device p. */
function partitionerFields(partitions: number): number[] {
  const { replicaCount, computationCount, computationDevices, replicaDeviceIds } = FIELD.assignment;
  const devices = Array.from({ length: partitions }, (_, id) =>
    bytesField(computationDevices, bytesField(replicaDeviceIds, varint(id))),
  );
  const assignment = [...intField(replicaCount, 1), ...intField(computationCount, partitions), ...devices.flat()];
  return [
    ...intField(FIELD.useSpmdPartitioning, 1),
    ...bytesField(FIELD.deviceAssignment, assignment),
    ...intField(FIELD.useShardyPartitioner, 1),
  ];
}

function overrideField(value: number | boolean | string): number[] {
  if (typeof value === 'string') return bytesField(FIELD.override.text, textBytes(value));
  if (typeof value === 'boolean') return intField(FIELD.override.bool, value ? 1 : 0);
  return intField(FIELD.override.int, value);
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
