import { type Chip, type Compiler, compileAhead } from '@weft/backend-pjrt';
import { AUTOMATIC_PRECISION, type RunConfig } from '@weft/config';
import {
  type CompiledCopy,
  extendToFullDepth,
  fitsCompiled,
  type Layout,
  layersOf,
  shallowCopies,
  withLayout,
} from '@weft/planning';
import { taskOf } from '@weft/tasks';
import { trainProgram } from '@weft/training';

/** What a layout takes by the compiler for its chip, in place of the formula's activations. */
export interface CompiledPlan {
  /** Of the phase `gradients`, bytes of one device: at full depth, or extended to it. */
  readonly temporaries: number;
  /** With state and gradients, which are arithmetic. */
  readonly total: number;
  readonly fits: boolean;
  /** What was compiled: the run itself, or two copies with fewer layers. */
  readonly compiled: readonly CompiledDepth[];
}

export interface CompiledDepth {
  readonly decoderLayers: number;
  readonly encoderLayers: number;
  readonly temporaries: number;
  readonly seconds: number;
}

export interface CompilePlanOptions {
  readonly chip: Chip;
  readonly gpusPerHost: number;
  readonly memoryBytes: number;
  readonly compiler: Compiler;
  readonly onProgress?: (sentence: string) => void;
  /** Of the full compilation; more seconds than that are not spent. Default: 30. */
  readonly mostSeconds?: number;
}

/** A compilation of a whole model may take minutes. */
const MOST_SECONDS = 30;

/**
 * Compiles the phase `gradients` of a layout for a chip that need not be there. Where all layers would take over half a
 * minute, by what a shallow copy took, a second copy is compiled instead, and both are extended.
 * @throws WeftError with the compiler's words
 */
export async function compilePlan(
  config: RunConfig,
  layout: Layout,
  options: CompilePlanOptions,
): Promise<CompiledPlan> {
  const run = withLayout(config, layout);
  const { mesh, memory } = layout;
  const { memoryBytes, mostSeconds = MOST_SECONDS } = options;
  const copies = shallowCopies(run);
  const finish = (temporaries: number, compiled: readonly Compiled[]): CompiledPlan => {
    const total = memory.weights + memory.optimizer + memory.gradients + temporaries;
    return { temporaries, total, fits: fitsCompiled(total, memoryBytes), compiled: compiled.map(depthOf) };
  };
  const whole = async () => {
    const compiled = await compileGradients(run, layout, options);
    return finish(compiled.temporaries, [compiled]);
  };
  if (copies === undefined || mostSeconds === Number.POSITIVE_INFINITY) return whole();
  const first = await compileGradients(copies[0], layout, options);
  if ((first.seconds * layersOf(run)) / layersOf(copies[0]) <= mostSeconds) return whole();
  const second = await compileGradients(copies[1], layout, options);
  return finish(extendToFullDepth(run, mesh, [first, second]), [first, second]);
}

interface Compiled extends CompiledCopy {
  readonly seconds: number;
}

async function compileGradients(config: RunConfig, layout: Layout, options: CompilePlanOptions): Promise<Compiled> {
  const { chip, gpusPerHost, compiler, onProgress = () => {} } = options;
  const { hostsPerWorker, mesh } = layout;
  const { decoder, vision } = config.model;
  const isAlone = hostsPerWorker * gpusPerHost === 1;
  const program = trainProgram(taskOf(config), config, { layout: isAlone ? 'joined' : 'separate' });
  const { phases } = await compileAhead(program, {
    chip,
    hosts: hostsPerWorker,
    gpusPerHost,
    mesh,
    phases: ['gradients'],
    // Every chip that can be named has bf16.
    precision: config.precision === AUTOMATIC_PRECISION ? 'bf16' : config.precision,
    recompute: config.activationCheckpointing,
    compiler: async () => compiler,
    onCompile: ({ seconds, isDone }) => {
      const what = `${decoder.depth} layers and ${vision.depth} of the encoder`;
      onProgress(`${isDone ? 'compiled' : 'compiling'} ${what} for ${chip.name}, ${seconds.toFixed(0)} s`);
    },
  });
  const [gradients] = phases;
  return { config, temporaries: gradients?.memory.temporaries ?? 0, seconds: gradients?.compileSeconds ?? 0 };
}

function depthOf({ config, temporaries, seconds }: Compiled): CompiledDepth {
  const { decoder, vision } = config.model;
  return { decoderLayers: decoder.depth, encoderLayers: vision.depth, temporaries, seconds };
}
