/**
 * How an op's flat input list falls into TensorFlow's arguments: the ops that take a list
 * say how many leading inputs stand alone before it and after it.
 */
const LIST_INPUTS: Readonly<Record<string, { readonly before: number; readonly after: number }>> = {
  AddN: { before: 0, after: 0 },
  ConcatV2: { before: 0, after: 1 },
  Einsum: { before: 0, after: 0 },
  Pack: { before: 0, after: 0 },
  _FusedMatMul: { before: 2, after: 0 },
};

/** An argument of an op: one value, or a list of values. */
export type OpArgument<T> = { readonly single: T } | { readonly list: readonly T[] };

/** The inputs of an op as the arguments that TensorFlow takes. */
export function opArguments<T>(type: string, inputs: readonly T[]): OpArgument<T>[] {
  const layout = LIST_INPUTS[type];
  if (layout === undefined) return inputs.map((single) => ({ single }));
  const end = inputs.length - layout.after;
  return [
    ...inputs.slice(0, layout.before).map((single) => ({ single })),
    { list: inputs.slice(layout.before, end) },
    ...inputs.slice(end).map((single) => ({ single })),
  ];
}

/** True when TensorFlow itself infers this attribute from the length of a list input. */
export function isInferredAttr(type: string, attr: string): boolean {
  return LIST_INPUTS[type] !== undefined && (attr === 'N' || attr === 'num_args');
}
