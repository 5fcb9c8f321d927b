import type { OptimizerKind } from './run-config.js';

/** Where the state and checkpoints hold what an optimizer keeps: AdamW's moments m and v, and AdaFactor's means of squares. */
export const OPTIMIZER_PREFIXES = {
  firstMoment: 'adam/m',
  secondMoment: 'adam/v',
  row: 'adafactor/row',
  column: 'adafactor/column',
  vector: 'adafactor/v',
} as const;

/** An array that an optimizer keeps beside a parameter; all start at 0. Its name is the prefix, `/`, and the parameter's. */
export interface OptimizerArray {
  readonly prefix: string;
  /** The axis of the parameter that it lacks, counted from the end; undefined: it has the parameter's shape. */
  readonly lackingAxis: 1 | 2 | undefined;
}

/** What the optimizer keeps of a parameter with so many axes. */
export function optimizerArrays(kind: OptimizerKind, axes: number): readonly OptimizerArray[] {
  if (kind === 'adamw')
    return [OPTIMIZER_PREFIXES.firstMoment, OPTIMIZER_PREFIXES.secondMoment].map((prefix) => ({
      prefix,
      lackingAxis: undefined,
    }));
  if (axes < 2) return [{ prefix: OPTIMIZER_PREFIXES.vector, lackingAxis: undefined }];
  return [
    { prefix: OPTIMIZER_PREFIXES.row, lackingAxis: 1 },
    { prefix: OPTIMIZER_PREFIXES.column, lackingAxis: 2 },
  ];
}

/** What is left of something per axis of a parameter, its shape for instance, in such an array. */
export function axesOfArray<Each>({ lackingAxis }: OptimizerArray, perAxis: readonly Each[]): readonly Each[] {
  return lackingAxis === undefined ? perAxis : perAxis.toSpliced(perAxis.length - lackingAxis, 1);
}
