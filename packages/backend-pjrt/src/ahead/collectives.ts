import { type HloInstruction, type HloModule, shapeBytes } from './hlo-module.js';

const KINDS = ['all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all', 'collective-permute'] as const;
export type CollectiveKind = (typeof KINDS)[number];

/** All collectives of one kind in a run of a module, on one device. */
export interface Collectives {
  readonly kind: CollectiveKind;
  readonly count: number;
  /** Of operands or results, whichever is more: what a device has in hand before or after. */
  readonly bytes: number;
}

/** What a module does that memory does not tell. */
export interface ModuleFacts {
  readonly collectives: readonly Collectives[];
  /** Calls of a fused attention. */
  readonly fusedAttentionCalls: number;
  /** The most bytes that arrays which were gathered take on a device at one time. */
  readonly gatheredBytes: number;
}

/** Counts over one run of the module, with every loop's body as often as it runs. */
export function moduleFacts(module: HloModule): ModuleFacts {
  const found = new Map<CollectiveKind, { count: number; bytes: number }>();
  let fusedAttentionCalls = 0;
  visit(module.entryId, 1);
  const collectives = KINDS.flatMap((kind) => {
    const own = found.get(kind);
    return own === undefined ? [] : [{ kind, ...own }];
  });
  const gatheredBytes = mostGathered(module);
  return { collectives, fusedAttentionCalls, gatheredBytes };

  function visit(computation: number, times: number): void {
    const instructions = module.computations.get(computation) ?? [];
    const byId = new Map(instructions.map((instruction) => [instruction.id, instruction]));
    for (const instruction of instructions) {
      const kind = KINDS.find((each) => instruction.opcode === each || instruction.opcode === `${each}-start`);
      if (kind !== undefined) {
        const own = found.get(kind) ?? { count: 0, bytes: 0 };
        found.set(kind, { count: own.count + times, bytes: own.bytes + times * movedBytes(instruction, byId) });
      }
      if (/fmha/i.test(instruction.target)) fusedAttentionCalls += times;
      // The computations that collectives and reductions call combine two numbers.
      if (kind === undefined) for (const called of instruction.calledIds) visit(called, times * instruction.tripCount);
    }
  }
}

/** What gives a value on as it is. */
const SAME_MEMORY: ReadonlySet<string> = new Set([
  ...['bitcast', 'tuple', 'get-tuple-element', 'opt-barrier', 'async-update', 'async-done', 'all-gather-done'],
]);

function mostGathered({ computations, entryId }: HloModule): number {
  const instructions = computations.get(entryId) ?? [];
  /** By value: the gathers whose results are in it. */
  const gathers = new Map<number, readonly number[]>();
  const bytes = new Map<number, number>();
  const lastUses = new Map<number, number>();
  for (const [at, { id, opcode, shape, operandIds, calledIds }] of instructions.entries()) {
    const used = operandIds.flatMap((operand) => gathers.get(operand) ?? []);
    for (const gather of used) lastUses.set(gather, at);
    const called = calledIds.flatMap((each) => computations.get(each) ?? []);
    const isStart =
      opcode === 'all-gather-start' || (opcode === 'async-start' && called.at(-1)?.opcode === 'all-gather');
    if (isStart || opcode === 'all-gather') {
      // What starts a gather gives its operands, and behind them its results.
      bytes.set(id, shapeBytes((isStart ? shape.parts[1] : undefined) ?? shape));
      gathers.set(id, [id]);
      lastUses.set(id, at);
    } else if (SAME_MEMORY.has(opcode)) gathers.set(id, used);
  }
  const freed = instructions.map(() => 0);
  for (const [gather, at] of lastUses) freed[at] = (freed[at] ?? 0) + (bytes.get(gather) ?? 0);
  let [now, most] = [0, 0];
  for (const [at, { id }] of instructions.entries()) {
    now += bytes.get(id) ?? 0;
    most = Math.max(most, now);
    now -= freed[at] ?? 0;
  }
  return most;
}

function movedBytes({ opcode, shape, operandIds }: HloInstruction, byId: ReadonlyMap<number, HloInstruction>): number {
  const operands = operandIds.reduce((sum, id) => {
    const operand = byId.get(id);
    return sum + (operand === undefined ? 0 : shapeBytes(operand.shape));
  }, 0);
  // What starts a collective gives its operands back beside its results.
  const results = shapeBytes(shape) - (opcode.endsWith('-start') ? operands : 0);
  return Math.max(operands, results);
}
