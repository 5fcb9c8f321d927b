import type { FindCheckpoint } from './commands.js';
import { findUnhealthy } from './divergence.js';
import type { RunState } from './run-state.js';

/**
 * The command that looks for what a run may go on from.
 *
 * @param state before it is rolled back: it knows which checkpoints may hold a broken model
 * @param notAfterStep default: the last committed step
 */
export function lookForCheckpoint(state: RunState, notAfterStep = state.step): FindCheckpoint {
  const { runId, checkpoints: known, config } = state;
  const { skippedBatches } = config.data;
  return { kind: 'findCheckpoint', runId, notAfterStep, unhealthy: findUnhealthy(state), skippedBatches, known };
}
