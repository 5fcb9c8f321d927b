import type { RecordedOp, Recording, ValueId } from '@weft/tensor';
import type { AttentionLowering } from '../lowering/builder.js';
import { lowerModule } from '../lowering/module.js';
import type { PhaseLayout } from '../lowering/sharding.js';
import { deviceCount, type Sharding, UNCUT } from '../mesh/mesh.js';
import { followShardings } from './follow-shardings.js';

/** A part of a phase that becomes one executable. What lies between parts stays on the device. */
export interface Segment {
  /** In StableHLO. */
  readonly text: string;
  readonly arguments: readonly ValueId[];
  /** What it computes, and behind that the new values of `assigned`. */
  readonly results: readonly ValueId[];
  /** Variables that its last results are the new values of, in their order; only the last part has any. */
  readonly assigned: readonly string[];
  /** Inputs of the phase that it, and no earlier one, waits for. */
  readonly awaits: readonly string[];
  /** How its results lie on the mesh. */
  readonly resultShardings: readonly Sharding[];
  /** Values that nobody needs after it. */
  readonly lastUses: readonly ValueId[];
}

/** A phase cut into parts. Values are those of the recording. */
export interface SegmentedPhase {
  readonly segments: readonly Segment[];
  readonly inputs: ReadonlyMap<string, ValueId>;
  readonly outputs: ReadonlyMap<string, ValueId>;
  /** By value: the variable that it is the value of when the phase begins. */
  readonly variables: ReadonlyMap<ValueId, string>;
  readonly values: Recording['values'];
}

/** What a phase is cut for. */
export interface Cuts {
  /** Inputs that come after others were answered, if at all. */
  readonly late: ReadonlySet<string>;
  /** Whether outputs leave as soon as they are done. */
  readonly atOutputs: boolean;
}

/** Cuts at outputs lie at least this part of the phase's ops apart: every cut ends what XLA can fuse. */
const SHORTEST_PART = 1 / 8;

/**
 * Cuts a phase where late inputs come in and, if asked, where outputs are done. The order of the recording is an order of
 * execution, in which a late input stands behind the outputs that it is the answer to.
 * @param attention how attention is written; default: block by block
 */
export function cutPhase(
  recording: Recording,
  cuts: Cuts,
  layout: PhaseLayout,
  attention?: AttentionLowering,
): SegmentedPhase {
  const { ops } = recording;
  const inputs = new Map(Object.entries(recording.inputs));
  const outputs = new Map(Object.entries(recording.outputs));
  const constants = new Map(
    ops.flatMap((op) => (op.type === 'Const' ? op.outputs.map((id) => [id, op] as const) : [])),
  );
  const variables = new Map(
    ops.flatMap(({ variable, outputs: made }) =>
      variable === undefined ? [] : made.map((id) => [id, variable] as const),
    ),
  );
  const inputNames = new Map([...inputs].map(([name, id]) => [id, name]));
  const outputValues = new Set(outputs.values());
  const assigned = Object.keys(recording.assignments);
  const newValues = Object.values(recording.assignments);
  const outputNames = new Map([...outputs].map(([name, id]) => [id, name]));
  const isMeshed = deviceCount(layout.mesh) > 1;
  const declared = (id: ValueId): Sharding | undefined => {
    const [variable, input, output] = [variables.get(id), inputNames.get(id), outputNames.get(id)];
    if (variable !== undefined) return layout.variable(variable);
    if (input !== undefined) return layout.input(input);
    // An output that no phase takes is for the host.
    return output === undefined ? undefined : (layout.output(output) ?? UNCUT);
  };
  // What crosses from one part to the next.
  const followed = isMeshed ? followShardings(recording, layout.mesh, declared) : new Map<ValueId, Sharding>();
  const shardingOf = (id: ValueId): Sharding => declared(id) ?? followed.get(id) ?? UNCUT;

  const parts = cutOps(recording, cuts).map((part) => ({
    ops: part,
    reads: new Set(part.flatMap(({ inputs: read, after = [] }) => [...read, ...after])),
    makes: new Set(part.flatMap(({ outputs: made }) => made)),
  }));
  const segments = parts.map(({ ops: own, reads, makes }, index): Segment => {
    const isLast = index === parts.length - 1;
    const earlier = new Set(parts.slice(0, index).flatMap((part) => [...part.reads]));
    const later = new Set([...parts.slice(index + 1).flatMap((part) => [...part.reads]), ...(isLast ? [] : newValues)]);
    // An output that is a variable or a constant as it is passes through the last part; an input is there anyway.
    const passing = isLast ? [...outputValues].filter((id) => variables.has(id) || constants.has(id)) : [];
    const computed = [...[...makes].filter((id) => outputValues.has(id) || later.has(id)), ...passing];
    const results = isLast ? [...computed, ...newValues] : computed;
    const needed = [...new Set([...reads, ...results])].filter((id) => !makes.has(id));
    const args = needed.filter((id) => !constants.has(id));
    const resultShardings = [...computed.map(shardingOf), ...(isLast ? assigned.map(layout.variable) : [])];
    return {
      text: lowerModule({
        name: `${recording.program}/${recording.phase}${parts.length === 1 ? '' : `/${index}`}`,
        ops: [...needed.flatMap((id) => constants.get(id) ?? []), ...own],
        values: recording.values,
        arguments: args,
        results,
        attention,
        donations: new Map([
          ...(isLast ? donationsOf(args, variables, assigned, computed.length) : []),
          ...replacedInputs(recording, args, computed, later),
        ]),
        layout: isMeshed ? { mesh: layout.mesh, arguments: args.map(shardingOf), results: resultShardings } : undefined,
      }),
      arguments: args,
      results,
      resultShardings,
      assigned: isLast ? assigned : [],
      awaits: args.flatMap((id) => (earlier.has(id) ? [] : (inputNames.get(id) ?? []))),
      lastUses: args.filter((id) => !later.has(id) && !variables.has(id) && !outputValues.has(id)),
    };
  });
  return { segments, inputs, outputs, variables, values: recording.values };
}

/** The ops that compute, in parts. What only variables need comes last, beside the memory that it takes over. */
function cutOps({ ops, inputs, outputs }: Recording, { late, atOutputs }: Cuts): RecordedOp[][] {
  const lateValues = new Set(Object.entries(inputs).flatMap(([name, id]) => (late.has(name) ? [id] : [])));
  const outputValues = new Set(Object.values(outputs));
  const leadsToOutput = opsBehind(ops, outputValues);
  const shortest = SHORTEST_PART * leadsToOutput.size;
  const parts: RecordedOp[][] = [[]];
  // Late inputs with no output between them answer the same outputs, and come together.
  let hasOutput = true;
  for (const op of ops) {
    const part = parts.at(-1) ?? [];
    const isOutput = op.outputs.some((id) => outputValues.has(id));
    if (op.type === 'Placeholder') {
      if (!op.outputs.some((id) => lateValues.has(id)) || !hasOutput) continue;
      if (part.length > 0) parts.push([]);
      hasOutput = false;
    } else if (leadsToOutput.has(op)) {
      part.push(op);
      hasOutput ||= isOutput;
      if (atOutputs && isOutput && part.length >= shortest) parts.push([]);
    }
  }
  if (parts.length > 1 && parts.at(-1)?.length === 0) parts.pop();
  parts.at(-1)?.push(...ops.filter((op) => isComputing(op) && !leadsToOutput.has(op)));
  return parts;
}

function isComputing({ type }: RecordedOp): boolean {
  return type !== 'Const' && type !== 'Placeholder';
}

/** The ops that values are computed from. */
function opsBehind(ops: readonly RecordedOp[], values: ReadonlySet<ValueId>): ReadonlySet<RecordedOp> {
  const needed = new Set(values);
  const behind = new Set<RecordedOp>();
  for (const op of ops.toReversed()) {
    if (!isComputing(op) || !op.outputs.some((id) => needed.has(id))) continue;
    behind.add(op);
    for (const id of [...op.inputs, ...(op.after ?? [])]) needed.add(id);
  }
  return behind;
}

/** By argument that is a variable which is assigned: the result that is its new value. */
function donationsOf(
  args: readonly ValueId[],
  variables: ReadonlyMap<ValueId, string>,
  assigned: readonly string[],
  firstAssigned: number,
): ReadonlyMap<number, number> {
  return new Map(
    args.flatMap((id, argument) => {
      const at = assigned.indexOf(variables.get(id) ?? '');
      return at < 0 ? [] : [[argument, firstAssigned + at] as const];
    }),
  );
}

/** By argument that is an input which an output of the same name replaces: that output, where both are of one part. */
function replacedInputs(
  { inputs, outputs, replaced = [] }: Recording,
  args: readonly ValueId[],
  computed: readonly ValueId[],
  later: ReadonlySet<ValueId>,
): readonly (readonly [argument: number, result: number])[] {
  return replaced.flatMap((name) => {
    const [input = -1, output = -1] = [inputs[name], outputs[name]];
    const [argument, result] = [args.indexOf(input), computed.indexOf(output)];
    return argument < 0 || result < 0 || input === output || later.has(input) ? [] : [[argument, result] as const];
  });
}
