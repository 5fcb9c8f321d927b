import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

// TensorBoard's event files: records of TFRecord, each an `Event` message
// (tensorflow/core/lib/io/record_writer.h and tensorflow/core/util/event.proto in TensorFlow's repository).

/** What TensorBoard expects in the first event of a file. */
const FILE_VERSION = 'brain.Event:2';

/** A scalar of an event. It is stored as float32. */
export interface Scalar {
  readonly tag: string;
  readonly value: number;
}

/** The first record of a file. @param timeMs milliseconds since the Unix epoch */
export function versionRecord(timeMs: number): Uint8Array {
  return record(event(timeMs, 0).tag(FILE_VERSION_FIELD, WireType.LengthDelimited).string(FILE_VERSION));
}

/** The scalars of one step. */
export function scalarsRecord(timeMs: number, step: number, scalars: readonly Scalar[]): Uint8Array {
  const summary = new BinaryWriter();
  for (const { tag, value } of scalars) {
    summary.tag(VALUE_FIELD, WireType.LengthDelimited).fork();
    summary.tag(TAG_FIELD, WireType.LengthDelimited).string(tag);
    summary.tag(SIMPLE_VALUE_FIELD, WireType.Bit32).float(value).join();
  }
  return record(event(timeMs, step).tag(SUMMARY_FIELD, WireType.LengthDelimited).bytes(summary.finish()));
}

/** A text, which TensorBoard shows as Markdown. */
export function textRecord(timeMs: number, tag: string, markdown: string): Uint8Array {
  const value = new BinaryWriter();
  value.tag(TAG_FIELD, WireType.LengthDelimited).string(tag);
  // SummaryMetadata { plugin_data { plugin_name: "text" } }
  value.tag(METADATA_FIELD, WireType.LengthDelimited).fork();
  value.tag(PLUGIN_DATA_FIELD, WireType.LengthDelimited).fork();
  value.tag(PLUGIN_NAME_FIELD, WireType.LengthDelimited).string('text').join().join();
  // TensorProto { dtype: DT_STRING, tensor_shape { dim { size: 1 } }, string_val }
  value.tag(TENSOR_FIELD, WireType.LengthDelimited).fork();
  value.tag(DTYPE_FIELD, WireType.Varint).int32(DT_STRING);
  value.tag(SHAPE_FIELD, WireType.LengthDelimited).fork();
  value.tag(DIM_FIELD, WireType.LengthDelimited).fork().tag(SIZE_FIELD, WireType.Varint).int64(1).join().join();
  value.tag(STRING_VAL_FIELD, WireType.LengthDelimited).string(markdown).join();
  const summary = new BinaryWriter().tag(VALUE_FIELD, WireType.LengthDelimited).bytes(value.finish());
  return record(event(timeMs, 0).tag(SUMMARY_FIELD, WireType.LengthDelimited).bytes(summary.finish()));
}

// Event
const WALL_TIME_FIELD = 1;
const STEP_FIELD = 2;
const FILE_VERSION_FIELD = 3;
const SUMMARY_FIELD = 5;
// Summary
const VALUE_FIELD = 1;
// Summary.Value
const TAG_FIELD = 1;
const SIMPLE_VALUE_FIELD = 2;
const TENSOR_FIELD = 8;
const METADATA_FIELD = 9;
// SummaryMetadata, and its PluginData
const PLUGIN_DATA_FIELD = 1;
const PLUGIN_NAME_FIELD = 1;
// TensorProto, its TensorShapeProto, and the Dim of that
const DTYPE_FIELD = 1;
const SHAPE_FIELD = 2;
const STRING_VAL_FIELD = 8;
const DIM_FIELD = 2;
const SIZE_FIELD = 1;
const DT_STRING = 7;

/** An event that its writer goes on with. */
function event(timeMs: number, step: number): BinaryWriter {
  const writer = new BinaryWriter().tag(WALL_TIME_FIELD, WireType.Bit64).double(timeMs / 1000);
  return writer.tag(STEP_FIELD, WireType.Varint).int64(step);
}

const LENGTH_BYTES = 8;
const CHECKSUM_BYTES = 4;

/** Length, its checksum, the data, its checksum: numbers are little-endian. */
function record(content: BinaryWriter): Uint8Array {
  const data = content.finish();
  const whole = Buffer.alloc(LENGTH_BYTES + CHECKSUM_BYTES + data.length + CHECKSUM_BYTES);
  whole.writeBigUInt64LE(BigInt(data.length));
  whole.writeUInt32LE(maskedCrc32c(whole.subarray(0, LENGTH_BYTES)), LENGTH_BYTES);
  whole.set(data, LENGTH_BYTES + CHECKSUM_BYTES);
  whole.writeUInt32LE(maskedCrc32c(data), whole.length - CHECKSUM_BYTES);
  return whole;
}

/** Castagnoli's polynomial, reflected. */
const POLYNOMIAL = 0x82f63b78;
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  return crc;
});
const MASK_DELTA = 0xa282ead8;

/** CRC-32C, turned and shifted, so that data which holds its own checksum can be checked too. */
export function maskedCrc32c(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

/** RFC 3720, appendix B.4. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
