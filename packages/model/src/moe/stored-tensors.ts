const STACKED = /(^|\/)layers\/\d+\/experts\/(gate|up|down)$/;
const STORED = /^(.*\/layers\/\d+\/experts)\/(\d+)\/(gate|up|down)$/;

/** A tensor of a checkpoint and the part of a resident one that it holds. */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** First element inside the resident tensor, row-major. */
  readonly offset: number;
}

/** Whether a resident tensor (a parameter or a moment of it) is a stack of experts. */
export function isExpertTensor(name: string): boolean {
  return STACKED.test(name);
}

/**
 * How a resident tensor lies in a checkpoint: as itself, and a stack of experts as one tensor per expert, so that any
 * placement can load it: `…/layers/1/experts/gate` [E, D, F] → `…/layers/1/experts/<e>/gate` [D, F].
 * @param firstExpert the number of the first expert in the stack; default 0
 */
export function storedTensors(name: string, shape: readonly number[], firstExpert = 0): readonly StoredTensor[] {
  if (!isExpertTensor(name)) return [{ name, shape, offset: 0 }];
  const [count = 0, ...own] = shape;
  const length = own.reduce((product, dimension) => product * dimension, 1);
  const cut = name.lastIndexOf('/');
  return Array.from({ length: count }, (_, place) => ({
    name: `${name.slice(0, cut)}/${firstExpert + place}${name.slice(cut)}`,
    shape: own,
    offset: place * length,
  }));
}

/** The stack that a tensor of a checkpoint belongs to and the number of its expert; undefined for any other tensor. */
export function stackOf(stored: string): { readonly name: string; readonly expert: number } | undefined {
  const [, path, expert, matrix] = STORED.exec(stored) ?? [];
  return expert === undefined ? undefined : { name: `${path}/${matrix}`, expert: Number(expert) };
}
