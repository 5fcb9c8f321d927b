import { type ProtoField, packedNumbers, protoFields, textOf } from './protobuf.js';

/** An instruction of a compiled module. */
export interface HloInstruction {
  readonly id: number;
  readonly name: string;
  /** "fusion", "all-gather-start", "custom-call". */
  readonly opcode: string;
  readonly shape: HloShape;
  readonly operandIds: readonly number[];
  readonly calledIds: readonly number[];
  /** Of a custom call: which; else empty. */
  readonly target: string;
  /** How often the body of a loop runs; 1 for everything else, and where the compiler does not know. */
  readonly tripCount: number;
}

/** The shape of a value: an array, or a tuple of shapes. */
export interface HloShape {
  /** Of one element; 0 for tuples and tokens. */
  readonly elementBytes: number;
  readonly dimensions: readonly number[];
  readonly parts: readonly HloShape[];
}

/** A compiled module: what XLA runs, after partitioning and fusion. Shapes are those of one device. */
export interface HloModule {
  readonly entryId: number;
  /** Instructions in the order in which they run. */
  readonly computations: ReadonlyMap<number, readonly HloInstruction[]>;
}

/** Fields of xla/service/hlo.proto and xla/xla_data.proto. */
const FIELD = {
  withConfig: { module: 1 },
  module: { computations: 3, entryId: 6, schedule: 7 },
  /** A map of the computation's id to the ids of its instructions. */
  schedule: { entries: 1, key: 1, value: 2, ids: 1 },
  computation: { instructions: 2, id: 5 },
  instruction: { name: 1, opcode: 2, shape: 3, target: 28, id: 35, operandIds: 36, calledIds: 38, backendConfig: 43 },
  shape: { elementType: 2, dimensions: 3, parts: 4 },
} as const;

/** `PrimitiveType` → bytes of an element. */
const ELEMENT_BYTES: Readonly<Record<number, number>> = {
  ...{ 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 10: 2, 11: 4, 12: 8, 15: 8, 16: 2, 18: 16 },
  ...{ 19: 1, 20: 1, 23: 1, 24: 1, 25: 1, 28: 1, 29: 1 },
};

/** @param bytes XLA's `HloModuleProtoWithConfig`, as `AheadExecutable.optimizedProgram` gives it */
export function readHloModule(bytes: Uint8Array): HloModule {
  const computations = new Map<number, readonly HloInstruction[]>();
  const orders: (readonly [number, readonly number[]])[] = [];
  let entryId = 0;
  for (const outer of protoFields(bytes)) {
    if (outer.number !== FIELD.withConfig.module) continue;
    for (const field of protoFields(outer.bytes)) {
      if (field.number === FIELD.module.entryId) entryId = field.value;
      if (field.number === FIELD.module.computations) computations.set(...readComputation(field.bytes));
      if (field.number === FIELD.module.schedule) orders.push(...readSchedule(field.bytes));
    }
  }
  for (const [id, order] of orders) {
    const place = new Map(order.map((instruction, at) => [instruction, at]));
    const at = (instruction: HloInstruction) => place.get(instruction.id) ?? 0;
    const instructions = computations.get(id) ?? [];
    computations.set(
      id,
      instructions.toSorted((a, b) => at(a) - at(b)),
    );
  }
  return { entryId, computations };
}

function readSchedule(bytes: Uint8Array): (readonly [number, readonly number[]])[] {
  const { entries, key, value, ids } = FIELD.schedule;
  return [...protoFields(bytes)].flatMap((entry) => {
    if (entry.number !== entries) return [];
    const fields = [...protoFields(entry.bytes)];
    const sequence = fields.find(({ number }) => number === value)?.bytes ?? new Uint8Array(0);
    const order = [...protoFields(sequence)].flatMap((field) =>
      field.number === ids ? packedNumbers(field.bytes) : [],
    );
    return [[fields.find(({ number }) => number === key)?.value ?? 0, order] as const];
  });
}

function readComputation(bytes: Uint8Array): [number, readonly HloInstruction[]] {
  const fields = [...protoFields(bytes)];
  const instructions = fields.filter(({ number }) => number === FIELD.computation.instructions);
  const id = fields.find(({ number }) => number === FIELD.computation.id)?.value ?? 0;
  return [id, instructions.map(readInstruction)];
}

function readInstruction({ bytes }: ProtoField): HloInstruction {
  const f = FIELD.instruction;
  const fields = new Map([...protoFields(bytes)].map((field) => [field.number, field]));
  const text = (number: number) => {
    const field = fields.get(number);
    return field === undefined ? '' : textOf(field);
  };
  const numbers = (number: number) => packedNumbers(fields.get(number)?.bytes ?? new Uint8Array(0));
  return {
    id: fields.get(f.id)?.value ?? 0,
    name: text(f.name),
    opcode: text(f.opcode),
    shape: readShape(fields.get(f.shape)?.bytes ?? new Uint8Array(0)),
    operandIds: numbers(f.operandIds),
    calledIds: numbers(f.calledIds),
    target: text(f.target),
    tripCount: Number(/"known_trip_count":\{"n":"(\d+)"/.exec(text(f.backendConfig))?.[1] ?? 1),
  };
}

function readShape(bytes: Uint8Array): HloShape {
  const fields = [...protoFields(bytes)];
  const type = fields.find(({ number }) => number === FIELD.shape.elementType)?.value ?? 0;
  return {
    elementBytes: ELEMENT_BYTES[type] ?? 0,
    dimensions: fields.flatMap((field) => (field.number === FIELD.shape.dimensions ? packedNumbers(field.bytes) : [])),
    parts: fields.flatMap((field) => (field.number === FIELD.shape.parts ? [readShape(field.bytes)] : [])),
  };
}

/** Bytes of a value on one device. */
export function shapeBytes({ elementBytes, dimensions, parts }: HloShape): number {
  const own = dimensions.reduce((product, size) => product * size, elementBytes);
  return parts.reduce((sum, part) => sum + shapeBytes(part), own);
}
