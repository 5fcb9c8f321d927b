import type { Program } from '@weft/engine';
import { type ParameterSpec, stackOf } from '@weft/model';

/** What of a program's state a checkpoint holds. */
export interface StoredState {
  /** Resident tensors that are stored: parameters and their moments. */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** The number of the first expert in every stack of experts. */
  readonly firstExpert: number;
  /** Whether a tensor of a checkpoint may be held by another process instead of this one. */
  readonly isElsewhere: (name: string) => boolean;
}

/** A program whose state begins from a seed, and ends in a checkpoint. */
export interface StatefulProgram extends Program {
  readonly parameters: readonly ParameterSpec[];
  readonly stored: StoredState;
}

/** Whether a tensor of a checkpoint is part of an expert. */
export function isStoredExpert(name: string): boolean {
  return stackOf(name) !== undefined;
}
