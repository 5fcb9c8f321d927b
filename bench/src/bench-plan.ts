import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureProcessor } from '@weft/backend-tensorflow';
import { median } from '@weft/common';
import { processorCost, processorMemory, processorStepSeconds } from '@weft/planning';
import { trainProgram } from '@weft/training';
import type { PlanBenchOptions } from './arguments.js';
import { CandidateProcesses } from './candidate-processes.js';
import type { Addresses, CandidateSpec, FinalReport, Hello, Ready, Round, RoundResult } from './candidate-spec.js';
import { writeFixture } from './fixture.js';
import { describeMachine, machineSentence, onOwnCores } from './machine.js';
import { benchModel, type ModelName, OPTIMIZER } from './models.js';
import { MEASURED_PROCESS } from './programs.js';
import { benchTask, runConfig } from './training-candidate.js';

/** How far the plan may be off. */
const MOST_OFF = { memory: 0.15, time: 0.25 } as const;

/** What was planned for a training process on this processor, over what it took. */
export interface PlanRatios {
  readonly model: ModelName;
  readonly memory: { readonly planned: number; readonly measured: number };
  readonly seconds: { readonly planned: number; readonly measured: number };
}

/**
 * Prints the plan's peak memory and step time for this processor beside the measured ones.
 * @returns the exit code: 1 where memory is more than 15 % off, or time 25 %
 */
export async function benchPlan({ models, precision, threads, rounds, steps }: PlanBenchOptions): Promise<number> {
  console.log(machineSentence(describeMachine()));
  console.log(`${precision}, ${threads} threads; planned / measured\n`);
  console.log('| model | peak MiB | ratio | ms a step | ratio |\n|---|---|---|---|---|');
  let isWithin = true;
  for (const model of models) {
    const { memory, seconds } = await planRatios(model, { precision, threads, rounds, steps });
    const [ofMemory, ofTime] = [memory.planned / memory.measured, seconds.planned / seconds.measured];
    const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
    const ms = (each: number) => (each * 1000).toFixed(0);
    console.log(
      `| ${model} | ${mib(memory.planned)} / ${mib(memory.measured)} | ${ofMemory.toFixed(2)} | ${ms(seconds.planned)} / ${ms(seconds.measured)} | ${ofTime.toFixed(2)} |`,
    );
    isWithin &&= Math.abs(ofMemory - 1) <= MOST_OFF.memory && Math.abs(ofTime - 1) <= MOST_OFF.time;
  }
  return isWithin ? 0 : 1;
}

/** Plans a model of the bench, and runs the trainer's step of it in a process of its own; the processor is measured before and after. */
export async function planRatios(
  name: ModelName,
  { precision, threads, rounds, steps }: Omit<PlanBenchOptions, 'models' | 'help'>,
  script = MEASURED_PROCESS,
): Promise<PlanRatios> {
  const model = benchModel(name);
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-plan-'));
  try {
    const spec: CandidateSpec = {
      work: 'train',
      device: 'cpu',
      model,
      optimizer: OPTIMIZER,
      precision,
      threads,
      rank: 0,
      worldSize: 1,
      // The trainer's own step.
      isDataParallel: true,
      fixture: await writeFixture(directory, model, 1),
      startedAtMs: Date.now(),
      mode: 'graph',
      trace: false,
    };
    const cost = processorCost(trainProgram(benchTask(spec), runConfig(spec)), {
      precision,
      recompute: model.recompute,
    });
    const before = await measureProcessor(precision, threads);
    const measured = await measureSteps(spec, script, rounds, steps);
    const after = await measureProcessor(precision, threads);
    const rates = {
      flopsPerSecond: Math.max(before.flopsPerSecond, after.flopsPerSecond),
      bytesPerSecond: Math.max(before.bytesPerSecond, after.bytesPerSecond),
    };
    return {
      model: name,
      memory: { planned: processorMemory(cost, 0, false).total, measured: measured.peakBytes },
      seconds: { planned: processorStepSeconds(cost, rates, 1), measured: measured.seconds },
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The median of the measured steps, and the most memory that the process had. */
async function measureSteps(spec: CandidateSpec, script: string, rounds: number, steps: number) {
  const call = onOwnCores({ program: process.execPath, args: [script, JSON.stringify(spec)] }, 0, spec.threads);
  const running = new CandidateProcesses([{ ...call, environment: {} }]);
  try {
    await running.receive<Hello>();
    running.send<Addresses>({ addresses: [] });
    await running.receive<Ready>();
    const seconds: number[] = [];
    for (let round = 0; round <= rounds; round++) {
      running.send<Round>({ steps });
      const [result] = await running.receive<RoundResult>();
      // The first warms up.
      if (round > 0) seconds.push(...(result?.stepSeconds ?? []));
    }
    running.send({ end: true });
    const [report] = await running.receive<FinalReport>();
    await running.exited();
    return { seconds: median(seconds), peakBytes: report?.peakBytes ?? Number.NaN };
  } finally {
    running.kill();
  }
}
