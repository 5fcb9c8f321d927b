import { z } from 'zod';

/**
 * The kinds of fields that a configuration has. Each carries one phrase that completes "<field> is <value>, but must be …";
 * `problems.ts` makes the sentence.
 */

const UINT32_MAX = 2 ** 32 - 1;

export function wholeNumber(min: number, max = UINT32_MAX) {
  const error = ({ input }: { readonly input?: unknown }) =>
    max === UINT32_MAX && !(typeof input === 'number' && input > max)
      ? `a whole number of at least ${min}`
      : `a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export function integer(min: number, max: number) {
  const error = `an integer from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export function positiveNumber() {
  const error = 'a number above 0';
  return z.number({ error }).positive({ error });
}

export function numberAbove(least: number) {
  const error = `a number above ${least}`;
  return z.number({ error }).gt(least, { error });
}

export function nonNegativeNumber() {
  const error = 'a number of at least 0';
  return z.number({ error }).min(0, { error });
}

/** A number in [min, max), or in [min, max] when `inclusive`. */
export function numberFrom(min: number, max: number, { inclusive }: { inclusive: boolean }) {
  const error = inclusive ? `a number from ${min} to ${max}` : `a number from ${min} to below ${max}`;
  const atLeast = z.number({ error }).min(min, { error });
  return inclusive ? atLeast.max(max, { error }) : atLeast.lt(max, { error });
}

export function oneOf<const Choices extends readonly [string, ...string[]]>(choices: Choices) {
  return z.enum(choices, { error: `one of ${choices.join(', ')}` });
}

export function text(meaning: string) {
  const error = `${meaning}, a text that is not empty`;
  return z.string({ error }).min(1, { error });
}

export const yesOrNo = () => z.boolean({ error: 'true or false' });

export const group = <Shape extends z.core.$ZodLooseShape>(shape: Shape) =>
  z.strictObject(shape, { error: `a group of fields (${Object.keys(shape).join(', ')})` });

/** A group left out is an empty group, whose own defaults then apply. */
export const orEmpty = <Group extends z.ZodType>(schema: Group) => schema.prefault({} as never);
