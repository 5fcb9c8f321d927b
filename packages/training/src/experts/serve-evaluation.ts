import type { ExpertRequest, RowsRequest } from '@weft/collectives';
import { perSource, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { heldOutBatchCount } from '@weft/data';
import type { Executor, HostTensor } from '@weft/engine';
import type { GenerationPlan } from '../ports.js';
import type { ExpertProgram } from './expert-program.js';
import { send } from './expert-step.js';
import type { RequestDesk } from './request-desk.js';

export interface EvaluationService {
  readonly config: RunConfig;
  readonly program: ExpertProgram;
  readonly executor: Executor;
  readonly plan: Pick<GenerationPlan, 'worldSize'>;
}

/**
 * Answers the calls of all ranks in the evaluation after a step. How many there are follows from the configuration, so
 * that nobody has to say when it is over.
 * @throws why a rank asks no more; `corrupt_data` for a call that cannot be.
 */
export async function serveEvaluation(service: EvaluationService, desk: RequestDesk, step: number): Promise<void> {
  const { executor, program } = service;
  const isCall = (request: ExpertRequest): request is RowsRequest =>
    request.kind === 'rows' && request.direction === 'evaluate' && request.step === step;
  for (let left = evaluationCalls(service); left > 0; ) {
    const call = desk.take(isCall);
    if (call === undefined) {
      await desk.changed();
      continue;
    }
    const { layer, rank } = call;
    if (!program.layers.includes(layer))
      throw new WeftError('corrupt_data', `rank ${rank} evaluates layer ${layer}, which has no experts`);
    const { outputs } = await executor.run(`evaluate/${layer}`, { rows: call.rows_ECD });
    send(call, outputs as HostTensor);
    call.release();
    left--;
  }
}

function evaluationCalls({ config, program, plan: { worldSize } }: EvaluationService): number {
  const { data, evaluation, microbatchSize } = config;
  const sources = Object.values(perSource((source) => data.weights[source])).filter((weight) => weight > 0).length;
  const ranks = Array.from({ length: worldSize }, (_, rank) =>
    heldOutBatchCount({ heldOut: evaluation.sequencesPerSource, microbatchSize, rank, worldSize }),
  );
  return ranks.reduce((sum, each) => sum + each, 0) * sources * program.layers.length;
}
