/** Settings of a session and of an eager context: the fields of `ConfigProto` that Weft sets. */
export interface SessionConfig {
  /** Threads inside one op; 0 lets TensorFlow choose. */
  readonly intraOpThreads: number;
  /** Ops that may run at a time; 0 lets TensorFlow choose. */
  readonly interOpThreads: number;
}

/** `ConfigProto` in protobuf wire format: intra_op = 2, inter_op = 5, gpu_options = 6 { allow_growth = 4 }. */
export function encodeSessionConfig(config: SessionConfig): Buffer {
  return Buffer.from([
    0x10,
    ...varint(config.intraOpThreads),
    0x28,
    ...varint(config.interOpThreads),
    0x32,
    2,
    0x20,
    1,
  ]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
