import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPjrtExecutor, installPlugin } from '@weft/backend-pjrt';
import type { Program } from '@weft/tensor';
import { afterAll } from 'vitest';
import { describeGenerator } from './testing/generator-conformance.js';

const executables = mkdtempSync(join(tmpdir(), 'weft-executables-'));
afterAll(() => rmSync(executables, { recursive: true }));

const prepare = async () => {
  const { path: pluginPath } = await installPlugin({ platform: 'cpu' });
  return (program: Program) =>
    createPjrtExecutor(program, { precision: 'fp32', recompute: 'none', pluginPath, executables });
};

// Compiling takes longest; a key-value head for every query is a special case of groups.
describeGenerator('XLA', prepare, ['grouped queries', 'experts']);
