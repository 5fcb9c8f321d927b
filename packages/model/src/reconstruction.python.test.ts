import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const fixture = (name: string) => fileURLToPath(new URL(`../test-fixtures/${name}`, import.meta.url));
const PYTHON = process.env.WEFT_PEERS_PYTHON ?? process.env.PYTHON ?? 'python3';
const hasTorch = spawnSync(PYTHON, ['-c', 'import torch']).status === 0;
if (!hasTorch) console.log(`skipped: ${PYTHON} lacks torch (set WEFT_PEERS_PYTHON to one that has it)`);

it.skipIf(!hasTorch)(
  'the loss and gradients that reconstruction.test.ts compares with are what PyTorch computes',
  () => {
    const { stdout, stderr } = spawnSync(PYTHON, [fixture('reconstruction.py')], { encoding: 'utf8' });
    expect(stderr).toBe('');
    const [made, stored] = [JSON.parse(stdout), JSON.parse(readFileSync(fixture('reconstruction.json'), 'utf8'))];
    expect(made.weights).toEqual(stored.weights);
    expect(made.lossSum).toBeCloseTo(stored.lossSum, 8);
    for (const [name, gradient] of Object.entries<number[]>(stored.gradients)) {
      const apart = Math.hypot(...gradient.map((x, i) => x - made.gradients[name][i]));
      expect.soft(apart / Math.hypot(...gradient), name).toBeLessThan(1e-7);
    }
  },
);
