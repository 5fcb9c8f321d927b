import { type RunConfig, type RunConfigInput, resolveRunConfig } from '@weft/config';
import { tinyRun } from '@weft/testing';

export function tinyConfig(changes: RunConfigInput = {}): RunConfig {
  return resolveRunConfig({ ...tinyRun, ...changes });
}
