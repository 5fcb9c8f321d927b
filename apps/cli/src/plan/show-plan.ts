import { findCompiler } from '@weft/backend-pjrt';
import type { RunConfig } from '@weft/config';
import type { RunPlan } from '@weft/planning';
import type { PlannedDevices, PlanOptions } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { LiveRegion } from '../progress/live-region.js';
import { type Line, printLines, span } from '../styled-lines.js';
import type { CompiledPlan, compilePlan } from './compile-plan.js';
import type { ProcessorPlan } from './processor-lines.js';
import { compiledLines, type MadePlan, makePlan, planLines } from './render-plan.js';

/** In place of a chip: this machine's processor. */
const PROCESSOR = 'cpu';

/** A plan that a person has seen, or will with the lines that are left. */
export interface ShownPlan {
  readonly plan: (RunPlan & { readonly compiled: CompiledPlan | null }) | ProcessorPlan;
  readonly fits: boolean;
  /** What is still to be printed. */
  readonly lines: readonly Line[];
}

/**
 * Plans a run. The formulas answer at once; where the chip and a compiler for it are known, its answer replaces theirs on a
 * terminal, and follows them elsewhere. `--json` prints nothing before both are there.
 * @param compile for tests
 * @throws WeftError `not_found` for an unknown chip, and the compiler's words
 */
export async function showPlan(
  context: Pick<CommandContext, 'terminal' | 'json'>,
  config: RunConfig,
  devices: PlannedDevices,
  options: PlanOptions,
  compile?: (made: MadePlan) => ReturnType<typeof compilePlan>,
): Promise<ShownPlan> {
  if (devices.chip === PROCESSOR) {
    const { planProcessor, processorLines } = await import('./processor-lines.js');
    const plan = await planProcessor(config, devices.count);
    return { plan, fits: plan.fits, lines: processorLines(plan, config) };
  }
  const made = makePlan(config, devices, options);
  const { plan } = made;
  const [start, reason] = compile === undefined ? compilation(made, options) : [compile, ''];
  if (start === undefined) {
    const lines = planLines(made, `a formula${reason}`);
    return { plan: { ...plan, compiled: null }, fits: plan.layout.fits, lines };
  }
  const { terminal, json } = context;
  const isLive = terminal.stdout.isTTY && !json;
  const region = new LiveRegion(terminal);
  const byFormula = planLines(made, 'a formula, until it is compiled');
  const draw = (progress: string) => {
    if (isLive) region.draw([...byFormula, [], [span(`  ${progress} …`, 'dim')]]);
    else terminal.stderr.write(`${progress}\n`);
  };
  if (!isLive && !json) printLines(terminal, byFormula);
  draw('compiling');
  const compiled = await start(made, draw).finally(() => isLive && region.clear());
  return {
    plan: { ...plan, compiled },
    fits: plan.layout.fits && compiled.fits,
    lines: isLive ? planLines(made, compiled) : [[], ...compiledLines(made, compiled)],
  };
}

type Compilation = (made: MadePlan, onProgress: (sentence: string) => void) => Promise<CompiledPlan>;

/** How the plan is compiled, or why it is not. */
function compilation({ config, target, shown }: MadePlan, { compile }: PlanOptions): [Compilation | undefined, string] {
  const { chip, devicesPerHost, memoryBytes } = target;
  if (compile === false || shown === undefined) return [undefined, ''];
  if (chip === undefined) return [undefined, '; name the GPUs, such as --chip h100, to have it compiled'];
  const compiler = findCompiler();
  if (compiler === undefined)
    return [undefined, '; once `weft compile` has fetched the compiler for these GPUs, it is compiled'];
  const start: Compilation = async (_, onProgress) => {
    // Loaded when it is needed: it records the whole model.
    const { compilePlan } = await import('./compile-plan.js');
    return compilePlan(config, shown, { chip, gpusPerHost: devicesPerHost, memoryBytes, compiler, onProgress });
  };
  return [start, ''];
}
