import { elementCount } from '@weft/tensor';
import { layerPath } from '../parameters.js';

// The one owner of the names of routers and experts. In memory the experts of a layer are stacks,
// `decoder/layers/<layer>/experts/<matrix>` [E, …]; in a checkpoint every expert is a tensor of its own,
// `decoder/layers/<layer>/experts/<expert>/<matrix>`, so any number of expert workers can load it. Moments of the
// optimizer have the same names below a prefix. Old checkpoints hold these names: they never change.

/** The matrices of an expert: SwiGLU's gate, up and down. */
export const EXPERT_MATRICES = ['gate', 'up', 'down'] as const;
/** Which matrix of an expert. */
export type ExpertMatrix = (typeof EXPERT_MATRICES)[number];

/** The weights of a layer's router, below the path of the layer. */
export const ROUTER = 'moe/router';

const STACK = /(^|\/)layers\/\d+\/experts\/(gate|up|down)$/;
const EXPERT_TENSOR = /^(.*\/layers\/\d+\/experts)\/(\d+)\/(gate|up|down)$/;
const ROUTER_TENSOR = /\/layers\/\d+\/moe\/router$/;

/** The stack of a matrix of all experts of a layer: `experts/<matrix>`, below the path of the layer. */
export function expertStackInLayer(matrix: ExpertMatrix): string {
  return `experts/${matrix}`;
}

/** The full name of such a stack, `decoder/layers/<layer>/experts/<matrix>`. */
export function expertStackName(layer: number, matrix: ExpertMatrix): string {
  return `decoder/${layerPath(layer)}/${expertStackInLayer(matrix)}`;
}

/** Whether a parameter, or a moment of it, is a stack of experts. */
export function isExpertStack(name: string): boolean {
  return STACK.test(name);
}

/** Whether a tensor is a router, which a dense model lacks and which therefore starts from the seed when upcycling. */
export function isRouter(name: string): boolean {
  return ROUTER_TENSOR.test(name);
}

/** A tensor of a checkpoint, and the part of a parameter that it holds. */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** First element inside the parameter, row-major. */
  readonly offset: number;
}

/**
 * How a parameter lies in a checkpoint: as itself, and a stack of experts as one tensor per expert:
 * `…/layers/1/experts/gate` [E, D, F] becomes `…/layers/1/experts/<expert>/gate` [D, F].
 * @param firstExpert the id of the first expert in the stack; default 0
 */
export function storedTensors(name: string, shape: readonly number[], firstExpert = 0): readonly StoredTensor[] {
  if (!isExpertStack(name)) return [{ name, shape, offset: 0 }];
  const [count = 0, ...expertShape] = shape;
  const length = elementCount(expertShape);
  const lastSlash = name.lastIndexOf('/');
  return Array.from({ length: count }, (_, index) => ({
    name: `${name.slice(0, lastSlash)}/${firstExpert + index}${name.slice(lastSlash)}`,
    shape: expertShape,
    offset: index * length,
  }));
}

/** The stack that a tensor of a checkpoint belongs to, and the id of its expert; undefined for any other tensor. */
export function parseExpertTensorName(stored: string): { readonly stack: string; readonly expert: number } | undefined {
  const [, path, expert, matrix] = EXPERT_TENSOR.exec(stored) ?? [];
  return expert === undefined ? undefined : { stack: `${path}/${matrix}`, expert: Number(expert) };
}

/**
 * The tensor of a dense checkpoint that an expert starts from as a copy (sparse upcycling, Komatsuzaki et al., 2023):
 * for `…/layers/1/experts/<expert>/gate` it is `…/layers/1/feedForward/gate`, whatever the expert. With a copy of the
 * whole feed-forward in each expert the MoE model starts with the output of the dense one, because a token's two gates
 * add up to 1 unless one is dropped.
 * @param stored the name of a tensor as checkpoints hold it
 * @returns undefined for a tensor that is not an expert's
 */
export function denseParameterName(stored: string): string | undefined {
  return parseExpertTensorName(stored)?.stack.replace(/\/experts\/(\w+)$/, '/feedForward/$1');
}
