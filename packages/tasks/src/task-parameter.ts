import { learningRateFactor, type OptimizerConfig } from '@weft/config';
import {
  denseParameterName,
  initialValue,
  isRouter,
  type ParameterSpec,
  type StoredTensor,
  storedTensors,
} from '@weft/model';
import type { LogicalAxes } from '@weft/tensor';

/** One trainable array of a task. */
export interface TaskParameter {
  /** Unique within the task. */
  readonly name: string;
  readonly shape: readonly number[];
  /** What each axis counts, for a mesh of devices. Default: no axis is ever cut. */
  readonly axes?: LogicalAxes | undefined;
  /** Whether weight decay pulls it towards 0. */
  readonly weightDecay: boolean;
  /** By what its learning rate and weight decay are multiplied; 0: it is frozen. Default: 1. */
  readonly learningRateFactor?: number | undefined;
  /** No update takes it above this. Default: there is no such limit. */
  readonly maximum?: number | undefined;
  /** How it lies in a checkpoint: as itself, or in parts that other processes may hold on resume. */
  readonly stored: readonly StoredPart[];
  /** The value before the first step, row-major. It follows from seed and name alone, whatever the number of ranks. */
  readonly initialValue: (seed: number) => Float32Array;
}

/** Whether training changes it. */
export function isTrained({ learningRateFactor: factor }: Pick<TaskParameter, 'learningRateFactor'>): boolean {
  return factor !== 0;
}

/** A tensor of a checkpoint, and the part of a parameter that it holds. */
export interface StoredPart extends StoredTensor {
  /** Tensors of an earlier run's checkpoint that may become this part when a run begins from its weights, best first. */
  readonly initialSources: readonly string[];
  /** Whether the seed decides where none of them exists; otherwise that checkpoint is of another model. */
  readonly maySeed: boolean;
  /** Whether it is a table of learned positions, which may begin as one of another grid. */
  readonly isPositions: boolean;
}

/**
 * A parameter of `@weft/model`. A stack of experts lies in checkpoints as one tensor per expert, and an expert may begin
 * as a copy of the feed-forward of a dense model, while a router, which no dense model has, begins from the seed.
 * @param optimizer may give it a rate of its own
 */
export function taskParameter(
  spec: ParameterSpec,
  optimizer?: Pick<OptimizerConfig, 'learningRateFactors'>,
): TaskParameter {
  const { name, shape, axes, weightDecay, firstExpert } = spec;
  const maySeed = isRouter(name);
  const stored = storedTensors(name, shape, firstExpert).map((part) => {
    const dense = denseParameterName(part.name);
    const initialSources = dense === undefined ? [part.name] : [part.name, dense];
    return { ...part, initialSources, maySeed, isPositions: name.endsWith('/positions') };
  });
  const factor = optimizer === undefined ? 1 : learningRateFactor(optimizer.learningRateFactors, name);
  const learningRateFactors = factor === 1 ? {} : { learningRateFactor: factor };
  return {
    name,
    shape,
    axes,
    weightDecay,
    ...learningRateFactors,
    stored,
    initialValue: (seed) => initialValue(spec, seed),
  };
}
