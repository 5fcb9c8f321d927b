#!/usr/bin/env node
// `npm run bench`: measures training steps; with a word before the options MoE layers (moe) or the ring (all-reduce).
import { WeftError } from '@weft/common';
import { benchAllReduce } from './all-reduce.js';
import {
  ALL_REDUCE_USAGE,
  MOE_USAGE,
  parseAllReduceArguments,
  parseMoeArguments,
  parseStepArguments,
  STEP_USAGE,
} from './arguments.js';
import { benchSteps } from './bench-steps.js';
import { benchMoe } from './moe/bench-moe.js';

try {
  process.exitCode = await bench(process.argv.slice(2));
} catch (thrown) {
  const error = WeftError.from(thrown);
  console.error(error.hint === undefined ? error.message : `${error.message}\n${error.hint}`);
  process.exitCode = 1;
}

async function bench(words: readonly string[]): Promise<number> {
  if (words[0] === 'moe') {
    const options = parseMoeArguments(words.slice(1));
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
  const options = parseStepArguments(words);
  if (!options.help) return benchSteps(options);
  console.log(STEP_USAGE);
  return 0;
}
