import { WeftError } from '@weft/common';
import type { SweepConfig } from '@weft/config';
import type { PlannedRun } from './plan.js';

/** @throws WeftError `invalid_argument` for a plan whose runs could not be compared, before hours went into them. */
export function checkPlan(sweep: SweepConfig, runs: readonly PlannedRun[], where: string): void {
  for (const run of runs) refuseUnmeasured(sweep, run, where);
  const sizes = new Map<number, string>();
  for (const { scale, params } of runs) {
    const other = sizes.get(params);
    if (other !== undefined && other !== scale)
      throw new WeftError(
        'invalid_argument',
        `${where}: the scales ${other} and ${scale} are one: N is ${params} in both`,
        {
          cure: 'give their decoders different sizes',
        },
      );
    sizes.set(params, scale);
  }
}

function refuseUnmeasured({ metric }: SweepConfig, { scale, config }: PlannedRun, where: string): void {
  const refuse = (why: string, cure: string): never => {
    throw new WeftError('invalid_argument', `${where}: metric is ${metric}, but ${why} in the scale ${scale}`, {
      cure,
    });
  };
  const [group, field] = metric.split('.');
  if (group === 'heldOutLoss') {
    if (config.evaluation.sequencesPerSource === 0)
      refuse('no sequences are held out', 'set evaluation.sequencesPerSource');
    const weight = Object.entries(config.data.weights).find(([source]) => source === field)?.[1];
    if (weight === 0) refuse(`the weight of ${field} is 0`, 'change data.weights, or compare by another metric');
  }
  if (group === 'moe' && config.model.decoder.moe === null)
    refuse('there are no experts', 'set model.decoder.moe, or compare by another metric');
}
