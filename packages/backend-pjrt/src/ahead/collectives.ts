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
  return { collectives, fusedAttentionCalls };

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

function movedBytes({ opcode, shape, operandIds }: HloInstruction, byId: ReadonlyMap<number, HloInstruction>): number {
  const operands = operandIds.reduce((sum, id) => {
    const operand = byId.get(id);
    return sum + (operand === undefined ? 0 : shapeBytes(operand.shape));
  }, 0);
  // What starts a collective gives its operands back beside its results.
  const results = shapeBytes(shape) - (opcode.endsWith('-start') ? operands : 0);
  return Math.max(operands, results);
}
