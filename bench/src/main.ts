#!/usr/bin/env node
import type { Precision } from '@weft/config';
import { benchAllReduce } from './all-reduce.js';
import {
  ALL_REDUCE_USAGE,
  GENERATION_USAGE,
  MOE_USAGE,
  OBSERVABILITY_USAGE,
  PLAN_USAGE,
  parseAllReduceArguments,
  parseGenerationArguments,
  parseMoeArguments,
  parseObservabilityArguments,
  parsePlanArguments,
  parseStepArguments,
  STEP_USAGE,
} from './arguments.js';
import { benchPlan } from './bench-plan.js';
import { benchSteps } from './bench-steps.js';
import { benchGeneration } from './generation.js';
import { describeMachine, nativePrecisions } from './machine.js';
import { benchMoe } from './moe/bench-moe.js';
import { benchObservability } from './observability.js';
// `npm run bench`: measures training steps; with a word before the options MoE layers (moe), the ring (all-reduce),
// generation, how true a plan is (plan), or what looking costs (observability).
import { runBench } from './run-bench.js';

await runBench(bench);

async function bench(words: readonly string[]): Promise<number> {
  if (words[0] === 'moe') {
    const options = parseMoeArguments(words.slice(1), usualPrecisions(words));
    if (options.help) console.log(MOE_USAGE);
    else await benchMoe(options);
    return 0;
  }
  if (words[0] === 'all-reduce') {
    const options = parseAllReduceArguments(words.slice(1));
    if (options.help) console.log(ALL_REDUCE_USAGE);
    else await benchAllReduce(options);
    return 0;
  }
  if (words[0] === 'generation') {
    const options = parseGenerationArguments(words.slice(1));
    if (options.help) console.log(GENERATION_USAGE);
    else await benchGeneration(options);
    return 0;
  }
  if (words[0] === 'plan') {
    const options = parsePlanArguments(words.slice(1));
    if (!options.help) return benchPlan(options);
    console.log(PLAN_USAGE);
    return 0;
  }
  if (words[0] === 'observability') {
    const options = parseObservabilityArguments(words.slice(1));
    if (!options.help) return benchObservability(options);
    console.log(OBSERVABILITY_USAGE);
    return 0;
  }
  const options = parseStepArguments(words, usualPrecisions(words));
  if (!options.help) return benchSteps(options);
  console.log(STEP_USAGE);
  return 0;
}

/** Those that the processor does not emulate, and a sentence where that leaves one out. */
function usualPrecisions(words: readonly string[]): readonly Precision[] {
  const native = nativePrecisions(describeMachine());
  const isAsked = words.some((word) => word === '--help' || word.startsWith('--precisions'));
  if (!isAsked && !native.includes('bf16'))
    console.error(
      'bf16 is left out: the processor has no instructions for it (--precisions fp32,bf16 measures it too)',
    );
  return native;
}
