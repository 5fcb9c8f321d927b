import {
  elementCount,
  inputOf,
  outputOf,
  type Precision,
  type Program,
  passes,
  type Recompute,
  type RecordedOp,
  type Recording,
  recordPhase,
  required,
} from '@weft/tensor';
import type { AutomaticMesh, CompileProgress } from '../executor/pjrt-executor.js';
import { cutPhase } from '../executor/segments.js';
import { rewriteForXla } from '../lowering/module.js';
import { LoweringShapeInference } from '../lowering/shape-inference.js';
import { phaseLayout } from '../lowering/sharding.js';
import { chooseMesh, temporaryBytes } from '../mesh/choose-mesh.js';
import { checkMesh, deviceCount, type Mesh } from '../mesh/mesh.js';
import type { CompileOptions } from '../native/compile-options.js';
import type { ExecutableMemory } from '../native/executable.js';
import { loadPlugin } from '../native/plugin.js';
import { type AheadExecutable, Topology } from '../native/topology.js';
import type { Compiler } from '../setup/compiler.js';
import type { Chip } from './chips.js';
import { type ModuleFacts, moduleFacts } from './collectives.js';
import { readHloModule } from './hlo-module.js';

export interface AheadOptions {
  readonly chip: Chip;
  readonly hosts: number;
  readonly gpusPerHost: number;
  readonly phases: readonly string[];
  /** How the program is cut over the GPUs. */
  readonly mesh: Mesh | AutomaticMesh;
  readonly precision: Precision;
  readonly recompute: Recompute;
  /** Called once all is known to be in order: it may have to be fetched. */
  readonly compiler: () => Promise<Compiler>;
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

/** What was compiled, and over which mesh. */
export interface AheadProgram {
  readonly mesh: Mesh;
  readonly phases: readonly AheadPhase[];
}

/**
 * Records phases of a program, lowers them and compiles them for GPUs that need not be there. Needs no driver, no GPU and
 * no TensorFlow.
 * @throws WeftError with the compiler's words, and when the mesh has another number of devices
 */
export async function compileAhead(program: Program, options: AheadOptions): Promise<AheadProgram> {
  const { chip, hosts, gpusPerHost } = options;
  const recordings = options.phases.map((phase) => recordPhase(new LoweringShapeInference(), program, phase));
  const mesh = meshFor(program, recordings, options);
  checkMesh(mesh, hosts * gpusPerHost);
  const compiler = await options.compiler();
  // What it says of collective memory and missing drivers is of no use here.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  const topology = new Topology(loadPlugin(compiler.path), { targetConfig: chip.targetConfig, hosts, gpusPerHost });
  try {
    const phases: AheadPhase[] = [];
    // One after another: a compilation of a large model takes gigabytes and several threads of its own.
    for (const recording of recordings) {
      const { segments } = cutPhase(
        rewriteForXla(recording, { ...options, mesh }),
        { late: new Set(), atOutputs: false },
        phaseLayout(program, recording.phase, mesh),
        'fused',
      );
      const compiled = await compileText(topology, recording.phase, segments[0]?.text ?? '', {
        ...options,
        compileOptions: { cudaDirectory: compiler.cudaDirectory, partitions: deviceCount(mesh), flags: FLAGS },
      });
      phases.push({ ...compiled, flops: productFlops(recording) });
    }
    return { mesh, phases };
  } finally {
    await topology.close();
  }
}

function meshFor(program: Program, recordings: readonly Recording[], options: AheadOptions): Mesh {
  const { mesh, hosts, gpusPerHost, chip, precision, recompute } = options;
  if (!('allows' in mesh)) return mesh;
  return chooseMesh({
    devices: hosts * gpusPerHost,
    memoryBytes: chip.memoryBytes,
    state: Object.values(program.state),
    temporaryBytes: Math.max(
      ...recordings.map((recording) => temporaryBytes(rewriteForXla(recording, { precision, recompute }))),
    ),
    allows: mesh.allows,
  });
}

async function compileText(
  topology: Topology,
  phase: string,
  text: string,
  {
    compileOptions,
    onCompile = () => {},
  }: Pick<AheadOptions, 'onCompile'> & { readonly compileOptions: CompileOptions },
): Promise<Omit<AheadPhase, 'flops'>> {
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  onCompile({ phase, seconds: 0, isDone: false });
  const timer = setInterval(() => onCompile({ phase, seconds: seconds(), isDone: false }), PROGRESS_INTERVAL_MS);
  try {
    const executable = await topology.compile(text, compileOptions);
    return { phase, ...factsOf(executable), compileSeconds: seconds() };
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

/**
 * Floating-point operations of the matrix products of a recording as it was recorded, so without what is computed twice: a
 * multiplication and an addition for every element of the result and of the axis that is summed over.
 */
export function productFlops(recording: Recording): number {
  const { ops, values } = passes.expandAttention()(recording);
  return ops.reduce((sum, op) => {
    if (!/^(Batch)?MatMul(V2)?$/.test(op.type)) return sum;
    const a = required(values, inputOf(op)).shape;
    const contracted = a.at(isTransposed(op) ? -2 : -1) ?? 1;
    return sum + 2 * elementCount(required(values, outputOf(op)).shape) * contracted;
  }, 0);
}

function isTransposed({ attrs }: RecordedOp): boolean {
  return attrs.adj_x?.value === true || attrs.transpose_a?.value === true;
}
