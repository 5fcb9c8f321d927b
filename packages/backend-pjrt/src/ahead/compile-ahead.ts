import { type Precision, type Program, type Recompute, recordPhase } from '@weft/tensor';
import type { CompileProgress } from '../executor/pjrt-executor.js';
import { cutPhase } from '../executor/segments.js';
import { rewriteForXla } from '../lowering/module.js';
import { LoweringShapeInference } from '../lowering/shape-inference.js';
import type { ExecutableMemory } from '../native/executable.js';
import { loadPlugin } from '../native/plugin.js';
import { type AheadExecutable, Topology } from '../native/topology.js';
import type { Compiler } from '../setup/compiler.js';
import type { Chip } from './chips.js';
import { type ModuleFacts, moduleFacts } from './collectives.js';
import { productFlops } from './flops.js';
import { readHloModule } from './hlo-module.js';

export interface AheadOptions {
  readonly chip: Chip;
  readonly hosts: number;
  readonly gpusPerHost: number;
  readonly phases: readonly string[];
  readonly precision: Precision;
  readonly recompute: Recompute;
  readonly compiler: Compiler;
  readonly onCompile?: ((progress: CompileProgress) => void) | undefined;
}

/** A phase as it was compiled: bytes are those of one device. */
export interface AheadPhase extends ModuleFacts {
  readonly phase: string;
  readonly memory: ExecutableMemory;
  /** Of all devices together, without what is computed twice; see `productFlops`. */
  readonly flops: number;
  readonly compileSeconds: number;
}

/** Autotuning needs the GPU. */
const FLAGS = { xla_gpu_autotune_level: 0 } as const;
const PROGRESS_INTERVAL_MS = 5_000;

/**
 * Records phases of a program, lowers them and compiles them for GPUs that need not be there. Needs no driver, no GPU and
 * no TensorFlow.
 * @throws WeftError with the compiler's words
 */
export async function compileAhead(program: Program, options: AheadOptions): Promise<readonly AheadPhase[]> {
  const { chip, hosts, gpusPerHost, phases, compiler } = options;
  // What it says of collective memory and missing drivers is of no use here.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  const topology = new Topology(loadPlugin(compiler.path), { targetConfig: chip.targetConfig, hosts, gpusPerHost });
  try {
    const compiled: AheadPhase[] = [];
    // One after another: a compilation of a large model takes gigabytes and several threads of its own.
    for (const phase of phases) compiled.push(await compilePhase(topology, program, phase, options));
    return compiled;
  } finally {
    await topology.close();
  }
}

async function compilePhase(
  topology: Topology,
  program: Program,
  phase: string,
  { compiler, onCompile = () => {}, ...rewriting }: AheadOptions,
): Promise<AheadPhase> {
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  onCompile({ phase, seconds: 0, isDone: false });
  const timer = setInterval(() => onCompile({ phase, seconds: seconds(), isDone: false }), PROGRESS_INTERVAL_MS);
  try {
    const recording = recordPhase(new LoweringShapeInference(), program, phase);
    const { segments } = cutPhase(rewriteForXla(recording, rewriting), { late: new Set(), atOutputs: false });
    const [whole] = segments;
    const executable = await topology.compile(whole?.text ?? '', {
      cudaDirectory: compiler.cudaDirectory,
      partitions: topology.deviceCount,
      flags: FLAGS,
    });
    return { phase, ...factsOf(executable), flops: productFlops(recording), compileSeconds: seconds() };
  } finally {
    clearInterval(timer);
    onCompile({ phase, seconds: seconds(), isDone: true });
  }
}

function factsOf(executable: AheadExecutable): ModuleFacts & Pick<AheadPhase, 'memory'> {
  const { memory } = executable;
  const facts = moduleFacts(readHloModule(executable.optimizedProgram()));
  executable.free();
  return { memory, ...facts };
}
