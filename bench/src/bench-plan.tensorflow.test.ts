import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { planRatios } from './bench-plan.js';

/** As it was built. */
const MEASURED_PROCESS = fileURLToPath(new URL('../dist/measured-process.js', import.meta.url));

it("the plan's memory for this processor is within 15 % of what a training process has at its most", async () => {
  const options = { precision: 'fp32', threads: 1, rounds: 1, steps: 2 } as const;
  const { memory, seconds } = await planRatios('decoder-5m', options, MEASURED_PROCESS);
  expect(Math.abs(memory.planned / memory.measured - 1)).toBeLessThan(0.15);
  // Times are for a quiet machine: `npm run bench -- plan`.
  expect(seconds.planned).toBeGreaterThan(0);
}, 120_000);
