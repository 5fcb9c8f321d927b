import {
  type Pass,
  type Precision,
  passes,
  type Recompute,
  type RecordedOp,
  type Recording,
  required,
  type ValueId,
  type ValueInfo,
} from '@weft/tensor';
import { isExpertStack, type Mesh, type Sharding, SINGLE, slotsSharding } from '../mesh/mesh.js';
import { type AttentionLowering, Builder } from './builder.js';
import { lowerOp } from './lower-op.js';
import { type ModuleLayout, meshText, shardingAttribute } from './sharding.js';
import { typeOf, type Value } from './value.js';

/** A run of ops of a recording that becomes one program of the device. */
export interface ModuleSpec {
  /** For people: "trainer/gradients". */
  readonly name: string;
  /** In an order of execution. Placeholders must be arguments. */
  readonly ops: readonly RecordedOp[];
  readonly values: ReadonlyMap<ValueId, ValueInfo>;
  readonly arguments: readonly ValueId[];
  readonly results: readonly ValueId[];
  /** By argument: the result that takes over its memory. The argument is gone after a run. */
  readonly donations: ReadonlyMap<number, number>;
  /** How arguments and results lie on a mesh; undefined: all are on one device. */
  readonly layout?: ModuleLayout | undefined;
  /** How attention is written; default: block by block. */
  readonly attention?: AttentionLowering | undefined;
}

/** The module in StableHLO's text form, whose one function is `main`. */
export function lowerModule(spec: ModuleSpec): string {
  const { name, ops, values, arguments: args, results, donations, layout, attention } = spec;
  const builder = new Builder({ attention, mesh: layout?.mesh });
  const written = new Map<ValueId, Value>();
  for (const [index, id] of args.entries()) written.set(id, { name: `%arg${index}`, ...required(values, id) });

  const stacks = layout === undefined ? new Set<ValueId>() : expertStacks(spec, layout);
  const wanted = new Set(results);
  const unguarded = new Set<ValueId>();
  for (const op of ops) {
    if (op.type === 'Placeholder') continue;
    if (op.type === 'Identity' && (op.after?.length ?? 0) > 0) {
      guard(op);
      continue;
    }
    for (const [index, value] of outputsOf(op).entries()) {
      const id = op.outputs[index];
      if (id === undefined) continue;
      written.set(id, value);
      if (wanted.has(id)) unguarded.add(id);
    }
  }
  const returned = results.map((id) => required(written, id));
  const parameters = args.map((id, index) => {
    const donated = donations.get(index);
    const aliasing = donated === undefined ? [] : [`tf.aliasing_output = ${donated} : i32`];
    return `%arg${index}: ${typeOf(required(values, id))}${attributes(aliasing, required(values, id), layout?.arguments[index])}`;
  });
  const types = returned.map(typeOf).join(', ');
  const returns = returned.map((value, index) => `${typeOf(value)}${attributes([], value, layout?.results[index])}`);
  return [
    `module @"${name}" {`,
    ...(layout === undefined ? [] : [meshText(layout.mesh)]),
    `func.func public @main(${parameters.join(', ')}) -> (${returns.join(', ')}) {`,
    ...builder.lines,
    `return ${returned.map((value) => value.name).join(', ')}${returned.length === 0 ? '' : ` : ${types}`}`,
    '}',
    '}',
    '',
  ].join('\n');

  function attributes(own: readonly string[], { shape }: ValueInfo, sharding: Sharding | undefined): string {
    const all = sharding === undefined ? own : [...own, shardingAttribute(shape.length, sharding)];
    return all.length === 0 ? '' : ` {${all.join(', ')}}`;
  }

  /**
   * Holds a block that is computed twice back until everything before it is there, results included: XLA's scheduler would
   * else put weights' gradients off to the end, and keep what they are computed from of every block.
   */
  function guard({ inputs, after = [], outputs }: RecordedOp): void {
    const before = [...unguarded];
    unguarded.clear();
    const held = builder.barrier([...inputs, ...after, ...before].map((id) => required(written, id)));
    for (const [index, id] of outputs.entries()) written.set(id, held[index] as Value);
    for (const [index, id] of before.entries()) written.set(id, held[inputs.length + after.length + index] as Value);
  }

  function outputsOf(op: RecordedOp): readonly Value[] {
    const { constantValue, inputs, after = [], outputs } = op;
    if (constantValue !== undefined) {
      const [id] = outputs as readonly [ValueId];
      const info = required(values, id);
      return [{ ...builder.constant(info, constantValue), constantValue }];
    }
    const hasStack = inputs.some((id) => stacks.has(id)) && op.type.startsWith('BatchMatMul');
    const valuesOf = (ids: readonly ValueId[]) =>
      ids.map((id) => {
        const value = required(written, id);
        return hasStack && !stacks.has(id) ? builder.constrain(value, slotsSharding(value, builder.mesh)) : value;
      });
    // Only barriers are held back on purpose; `after` of other ops orders TensorFlow's kernels.
    return lowerOp(builder, op, valuesOf(inputs), op.type === 'Identity' ? valuesOf(after) : []);
  }
}

/** Stacks of experts that are cut over their axis: arguments, and the same numbers in another precision. */
function expertStacks({ ops, arguments: args }: ModuleSpec, layout: ModuleLayout): ReadonlySet<ValueId> {
  const stacks = new Set(args.filter((_, index) => isExpertStack(layout.arguments[index] ?? [])));
  for (const {
    type,
    inputs: [input = -1],
    outputs,
  } of ops)
    if (stacks.has(input) && (type === 'Cast' || type === 'Identity')) for (const id of outputs) stacks.add(id);
  return stacks;
}

/** What a program is rewritten to before it is lowered. */
interface PjrtRewriting {
  readonly precision: Precision;
  readonly recompute: Recompute;
  /** How it is cut; default: not at all. */
  readonly mesh?: Mesh | undefined;
}

/** Up to so many positions, attention is written as products and a softmax: as blocks it would take as much memory. */
const LONGEST_PLAIN = 128;

/**
 * The passes that XLA does not do itself. Those that choose among TensorFlow's kernels, and those that fuse, are left out.
 * `scheduleOutputsEarly` only orders the ops, so that a phase can be cut where its outputs are done.
 */
export function rewriteForXla(recording: Recording, { precision, recompute, mesh = SINGLE }: PjrtRewriting): Recording {
  const inOrder: readonly Pass[] = [
    passes.expandAttention(LONGEST_PLAIN),
    passes.dropNoOpCasts,
    passes.mergeEqualOps,
    passes.dropDeadOps,
    ...(precision === 'bf16'
      ? [passes.bf16Matmuls, passes.float32Gradients, passes.bf16Softmax, passes.sinkCasts]
      : []),
    ...(recompute === 'none'
      ? []
      : [passes.recompute(recompute, { readsVariablesAgain: mesh.fsdp * mesh.expert > 1 })]),
    passes.scheduleOutputsEarly,
  ];
  return separateOutputs(inOrder.reduce((rewritten, pass) => pass(rewritten), recording));
}

/**
 * Gives every output a value of its own, so that it lies on the mesh as its own name says, and in memory that no other
 * output shares: gradients of zeros, equal in shape, are one value after equal ops were merged, but each is summed over the
 * workers in its place. XLA copies a value that leaves twice.
 */
function separateOutputs(recording: Recording): Recording {
  const { ops, values, outputs } = recording;
  const taken = new Set<ValueId>();
  const copies: RecordedOp[] = [];
  const infos = new Map(values);
  let nextId = Math.max(-1, ...values.keys()) + 1;
  const own = Object.entries(outputs).map(([name, id]) => {
    if (!taken.has(id)) {
      taken.add(id);
      return [name, id] as const;
    }
    const copy = nextId++;
    infos.set(copy, required(values, id));
    copies.push({ type: 'Identity', attrs: {}, inputs: [id], outputs: [copy] });
    return [name, copy] as const;
  });
  if (copies.length === 0) return recording;
  return { ...recording, ops: [...ops, ...copies], values: infos, outputs: Object.fromEntries(own) };
}
