import { type CApi, type Pointer, readBuffer } from './c-api.js';

/** `RunOptions` in protobuf wire format: trace_level = 1, FULL_TRACE = 3. */
const FULL_TRACE = Uint8Array.of(0x08, 3);

/** The two buffers with which one run of a session is traced. */
export class RunTrace {
  readonly options: Pointer;
  readonly metadata: Pointer;
  readonly #api: CApi;

  constructor(api: CApi) {
    this.#api = api;
    this.options = api.TF_NewBufferFromString(FULL_TRACE, FULL_TRACE.length);
    this.metadata = api.TF_NewBuffer();
  }

  /** The ops of the run, once it is over. */
  read(): readonly OpTiming[] {
    return opTimings(readBuffer(this.metadata));
  }

  dispose(): void {
    this.#api.TF_DeleteBuffer(this.options);
    this.#api.TF_DeleteBuffer(this.metadata);
  }
}

/** How long one op of a traced run took. */
export interface OpTiming {
  /** The node's name in the graph, "gradients/123_MatMul". */
  readonly name: string;
  /** What TensorFlow ran for it, which may be a fused kernel: "_FusedMatMul". */
  readonly type: string;
  readonly milliseconds: number;
}

// Field numbers of TensorFlow's step_stats.proto and of RunMetadata in config.proto.
const RUN_METADATA = { stepStats: 1 } as const;
const STEP_STATS = { device: 1 } as const;
const DEVICE = { node: 2 } as const;
const NODE = { name: 1, label: 8, startNanoseconds: 14, endNanoseconds: 15 } as const;

/** Reads the op timings out of a serialised `RunMetadata`. */
export function opTimings(runMetadata: Uint8Array): readonly OpTiming[] {
  return nested(runMetadata, RUN_METADATA.stepStats)
    .flatMap((stats) => nested(stats, STEP_STATS.device))
    .flatMap((device) => nested(device, DEVICE.node))
    .map(opTiming);
}

function opTiming(node: Uint8Array): OpTiming {
  const fields = new Map([...readFields(node)].map(({ field, value }) => [field, value]));
  const text = (field: number) => {
    const value = fields.get(field);
    return value instanceof Uint8Array ? new TextDecoder().decode(value) : '';
  };
  const number = (field: number) => {
    const value = fields.get(field);
    return typeof value === 'bigint' ? Number(value) : 0;
  };
  const name = text(NODE.name);
  // The label reads "name = Type(inputs)"; ops that copy between devices have others.
  const type = / = (\w+)\(/.exec(text(NODE.label))?.[1] ?? name;
  return { name, type, milliseconds: (number(NODE.endNanoseconds) - number(NODE.startNanoseconds)) / 1e6 };
}

function nested(message: Uint8Array, wanted: number): Uint8Array[] {
  return [...readFields(message)].flatMap(({ field, value }) =>
    field === wanted && value instanceof Uint8Array ? [value] : [],
  );
}

/** The fields of a protobuf message in wire format; fixed-width ones are passed over. */
function* readFields(message: Uint8Array): Generator<{ field: number; value: bigint | Uint8Array }> {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++] ?? 0;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const key = Number(varint());
    const [field, wireType] = [key >> 3, key & 7];
    if (wireType === 0) yield { field, value: varint() };
    else if (wireType === 2) {
      const length = Number(varint());
      yield { field, value: message.subarray(at, at + length) };
      at += length;
    } else at += wireType === 1 ? 8 : 4;
  }
}
