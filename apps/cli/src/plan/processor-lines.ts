import { availableParallelism, totalmem } from 'node:os';
import { hasNativeLibrary, type ProcessorRates, processorRates } from '@weft/backend-tensorflow';
import { bytes, duration, percent, plural, WeftError } from '@weft/common';
import { ONE_DEVICE, type RunConfig } from '@weft/config';
import { deviceMemory, processorCost, processorMemory, processorStepSeconds } from '@weft/planning';
import { taskOf } from '@weft/tasks';
import { localPrecision, trainProgram } from '@weft/training';
import { type Line, span, summaryRows } from '../styled-lines.js';

/** The plan of a run for workers on this machine's processor. */
export interface ProcessorPlan {
  readonly workers: number;
  readonly microbatchesPerStep: number;
  readonly memory: ReturnType<typeof processorMemory>;
  readonly machineBytes: number;
  readonly fits: boolean;
  readonly rates: ProcessorRates;
  readonly stepSeconds: number;
  readonly runSeconds: number;
}

/**
 * Plans a run for workers on this machine's processor. The first time it measures the processor, which takes two seconds.
 * @throws WeftError `native_library` without TensorFlow
 */
export async function planProcessor(config: RunConfig, workers: number): Promise<ProcessorPlan> {
  if (!hasNativeLibrary())
    throw new WeftError(
      'native_library',
      'a plan for this processor needs TensorFlow, with which it would be computed',
      {
        hint: 'set it up (weft doctor says how), or plan for GPUs with --devices 8x80GiB',
      },
    );
  const { engine, activationCheckpointing: recompute, globalBatchSize, microbatchSize } = config;
  const run: RunConfig = { ...config, engine: { ...engine, backend: 'tensorflow', mesh: ONE_DEVICE } };
  const precision = localPrecision(run);
  const threads = engine.threadsPerWorker || Math.max(1, Math.floor(availableParallelism() / workers));
  const cost = processorCost(trainProgram(taskOf(run), run), { precision, recompute });
  const microbatchesPerStep = Math.ceil(Math.ceil(globalBatchSize / workers) / microbatchSize);
  const { gradients } = deviceMemory(run, ONE_DEVICE);
  const memory = processorMemory(cost, gradients, microbatchesPerStep > 1);
  const rates = await processorRates(precision, threads);
  const stepSeconds = processorStepSeconds(cost, rates, microbatchesPerStep);
  const machineBytes = totalmem();
  const fits = workers * memory.total <= machineBytes;
  const runSeconds = stepSeconds * config.steps;
  return { workers, microbatchesPerStep, memory, machineBytes, fits, rates, stepSeconds, runSeconds };
}

/** Its lines: whether it fits comes first. */
export function processorLines(plan: ProcessorPlan, { steps }: Pick<RunConfig, 'steps'>): Line[] {
  const { workers, memory, machineBytes, fits, rates, stepSeconds, runSeconds, microbatchesPerStep } = plan;
  const needed = `${bytes(workers * memory.total)} of ${bytes(machineBytes)}`;
  const each = workers === 1 ? '' : ' a worker';
  const rate = `${(rates.flopsPerSecond / 1e9).toFixed(0)} GFLOP/s of matrix products, ${(rates.bytesPerSecond / 1e9).toFixed(1)} GB/s of memory`;
  return [
    [span(`Plan for ${plural(workers, 'worker')} on this machine (${rates.processor})`, 'bold')],
    [span(`  It ${fits ? 'fits' : 'does not fit'}: ${needed}.`, fits ? 'green' : 'red')],
    ...summaryRows([
      ['process', `${bytes(memory.process)}${each}: Node, TensorFlow and what it compiles (measured elsewhere)`],
      ['state', bytes(memory.state)],
      ['temporaries', `${bytes(memory.temporaries)}, gradients among them`],
      ['together', `${bytes(memory.total)}${each} (${percent((workers * memory.total) / machineBytes)})`],
      ['microbatches', `${microbatchesPerStep} a step and worker`],
      ['a step', `${duration(stepSeconds)}, without what workers send to each other`],
      ['the run', `${duration(runSeconds)} for ${plural(steps, 'step')}`],
      ['measured', rate],
    ]),
  ];
}
