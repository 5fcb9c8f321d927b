import type { ExpertHost, ExpertRequest, NormRequest, RowsRequest } from '@weft/collectives';
import { deferred, WeftError, withTimeout } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { heldOutMicrobatchCount } from '@weft/evaluation';
import { scalarInput } from '../host-tensors.js';
import type { ExpertCoordinatorPort, ExpertDecision, TrainOutcome } from '../ports.js';
import { type RunStepsOptions, runSteps } from '../train-loop.js';
import { accumulationOrder } from './exchange-plan.js';
import type { ExpertCopies } from './expert-copies.js';
import { type ExpertExecutor, type ExpertProgram, expertPhase } from './expert-program.js';
import { answerWith, ExpertStep } from './expert-step.js';

/** What an expert worker needs to serve the ranks in one generation. */
export interface ExpertServerOptions extends RunStepsOptions {
  readonly config: RunConfig;
  readonly program: ExpertProgram;
  readonly executor: ExpertExecutor;
  readonly host: ExpertHost;
  readonly coordinator: ExpertCoordinatorPort;
  /** The copies of experts; default: there are none. */
  readonly copies?: Pick<ExpertCopies, 'ship' | 'apply' | 'failed'> | undefined;
  /** How long the others wait for a rank that sends nothing; default 100 s, less than they wait for an answer. */
  readonly rankTimeoutMs?: number;
  /** Called after every decided step. */
  readonly onStep: (result: ExpertStepResult) => void;
}

/** What became of a step on an expert worker. */
export interface ExpertStepResult {
  readonly step: number;
  readonly applied: boolean;
  /** Spent on answers and gradients. */
  readonly computeSeconds: number;
  /** Without anything to do. */
  readonly idleSeconds: number;
  readonly applySeconds: number;
}

const RANK_TIMEOUT_MS = 100_000;
/** Contributions to gradients that may wait while requests are answered first: each holds the memory of a request. */
const MAX_BACKLOG = 8;

/**
 * Serves the experts of one worker from the plan's first step to the last one of the run, or the one it is asked to stop
 * after, and returns when this worker's last checkpoint part is on disk.
 * @throws WeftError `cancelled` when the generation is released, `unavailable` when a rank is gone, `deadline_exceeded`
 *         naming the rank that keeps the others waiting.
 */
export async function serveExperts(options: ExpertServerOptions): Promise<TrainOutcome> {
  const { executor, host, signals } = options;
  try {
    const requests = new ExpertRequestQueue(host);
    options.copies?.failed.catch((thrown: unknown) => requests.fail(WeftError.from(thrown)));
    // A generation that was released in the middle of a step has left gradients behind.
    await executor.run('clear', {});
    return await runSteps(options, async (step, isEvaluated) => {
      options.onStep(await serveStep(options, requests, step));
      options.timer?.enter(isEvaluated ? 'evaluating' : 'idle');
      if (isEvaluated) await serveEvaluation(options, requests, step);
    });
  } catch (thrown) {
    const error = WeftError.from(thrown);
    if (!signals.released.aborted) await host.fail(error);
    throw error;
  }
}

/** Answers the ranks until the step is decided, then applies the gradients, or drops them. */
async function serveStep(
  options: ExpertServerOptions,
  requests: ExpertRequestQueue,
  number: number,
): Promise<ExpertStepResult> {
  const { config, executor, plan, program } = options;
  const order = accumulationOrder(config, number, plan.worldSize);
  const step = new ExpertStep({ executor, program, step: number, order, worldSize: plan.worldSize });
  const startedMs = performance.now();
  try {
    const { decision, computeMs } = await serveUntilDecided(options, requests, step);
    const decidedMs = performance.now();
    options.timer?.enter('computing');
    if (decision.apply) await executor.run('apply', applyInputs(decision, number));
    await options.copies?.apply(number, decision);
    await executor.run('clear', {});
    options.spans?.add('step', 'apply', decidedMs);
    return {
      step: number,
      applied: decision.apply,
      computeSeconds: computeMs / 1000,
      idleSeconds: (decidedMs - startedMs - computeMs) / 1000,
      applySeconds: (performance.now() - decidedMs) / 1000,
    };
  } finally {
    step.dispose();
  }
}

function applyInputs({ gradNorm, lossTokens }: ExpertDecision, step: number): Record<string, Float32Array> {
  return { gradNorm: scalarInput(gradNorm), lossTokens: scalarInput(lossTokens), step: scalarInput(step) };
}

async function serveUntilDecided(
  options: ExpertServerOptions,
  requests: ExpertRequestQueue,
  step: ExpertStep,
): Promise<{ readonly decision: ExpertDecision; readonly computeMs: number }> {
  const { config, coordinator, copies, timer, rankTimeoutMs = RANK_TIMEOUT_MS } = options;
  let decision: ExpertDecision | undefined;
  const decided = coordinator.decision(step.step).then((made) => {
    decision = made;
  });
  // Thrown where it is awaited; when the ranks fail first, nobody awaits it.
  decided.catch(() => {});
  let computeMs = 0;
  while (decision === undefined) {
    const startedMs = performance.now();
    // Every rank can vote now, so the step may be decided even if a rank is lost meanwhile: listen to nobody else.
    if (step.isAnswered) {
      timer?.enter('idle');
      await decided;
      options.spans?.add('step', 'wait for the decision', startedMs);
      continue;
    }
    const work = nextWork(step, requests, 2 * config.microbatchesInFlight, copies);
    timer?.enter(work === undefined ? 'idle' : 'computing');
    if (work === undefined) await untilChanged(step, requests, decided, rankTimeoutMs);
    else {
      await work;
      options.spans?.add('step', 'serve', startedMs);
      computeMs += performance.now() - startedMs;
    }
  }
  return { decision, computeMs };
}

/**
 * Starts the next work item, if any. Answers come first, because ranks wait for them; sums of gradients fill the pauses.
 * @param window how many microbatches a rank may be ahead of the slowest one, whose requests would fill the memory.
 */
function nextWork(
  step: ExpertStep,
  requests: ExpertRequestQueue,
  window: number,
  copies: ExpertServerOptions['copies'],
): Promise<void> | undefined {
  const due = step.dueLayer;
  if (due !== undefined && step.backlog > MAX_BACKLOG) return step.accumulate(due);
  const mayServe = ({ direction, microbatch }: RowsRequest) =>
    direction === 'backward' || microbatch < step.completedMicrobatches + window;
  const isServed = (request: ExpertRequest): request is RowsRequest =>
    request.kind !== 'squaredNorm' &&
    request.direction !== 'evaluate' &&
    request.step === step.step &&
    mayServe(request);
  const rows = requests.take(isServed);
  if (rows !== undefined) return step.serve(rows);
  if (due !== undefined) return step.accumulate(due);
  // The ranks vote once they have the norms: the gradients are in two places then.
  if (copies !== undefined && step.isComplete && !step.isShipped) return step.ship(copies);
  const isNorm = (request: ExpertRequest): request is NormRequest =>
    request.kind === 'squaredNorm' && request.step === step.step && step.isComplete;
  const norm = requests.take(isNorm);
  return norm && step.answerNorm(norm);
}

/** @throws `deadline_exceeded` when requests wait, and the rank whose microbatch is next sends nothing for too long. */
async function untilChanged(
  step: ExpertStep,
  requests: ExpertRequestQueue,
  decided: Promise<void>,
  rankTimeoutMs: number,
): Promise<void> {
  const change = Promise.race([requests.changed(), decided]);
  const slow = step.awaited;
  if (slow === undefined || !requests.some((request) => request.step === step.step)) return change;
  await withTimeout(change, {
    timeoutMs: rankTimeoutMs,
    doing: `waiting for rank ${slow.rank}`,
    onTimeout: () =>
      new WeftError(
        'deadline_exceeded',
        `rank ${slow.rank} brought nothing of step ${step.step}, microbatch ${slow.microbatch} for ${rankTimeoutMs / 1000} s while others waited`,
        { hint: `look at the log of rank ${slow.rank} for the reason` },
      ),
  });
}

/**
 * Answers the requests of all ranks in the evaluation after a step. Their number follows from the configuration, so no
 * message has to end it.
 * @throws why a rank asks no more; `corrupt_data` for a layer without experts.
 */
async function serveEvaluation(
  { config, executor, plan, program }: ExpertServerOptions,
  requests: ExpertRequestQueue,
  step: number,
): Promise<void> {
  const isServed = (request: ExpertRequest): request is RowsRequest =>
    request.kind !== 'squaredNorm' && request.direction === 'evaluate' && request.step === step;
  let left = heldOutMicrobatchCount(config, plan.worldSize) * program.layers.length;
  while (left > 0) {
    const rows = requests.take(isServed);
    if (rows === undefined) {
      await requests.changed();
      continue;
    }
    const { layer, rank } = rows;
    if (!program.layers.includes(layer))
      throw new WeftError('corrupt_data', `rank ${rank} evaluates layer ${layer}, which has no experts`);
    await answerWith(executor, rows, expertPhase('evaluate', layer), 'rows', 'outputs');
    rows.release();
    left--;
  }
}

/** Keeps the requests of the ranks until they can be served. */
class ExpertRequestQueue {
  #waiting: ExpertRequest[] = [];
  #failure: WeftError | undefined;
  #change = deferred();

  constructor(host: ExpertHost) {
    void this.#listen(host);
  }

  /** Removes the first request of a kind, if one waits. @throws why no request will come any more. */
  take<Request extends ExpertRequest>(is: (request: ExpertRequest) => request is Request): Request | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const found = this.#waiting.find(is);
    if (found !== undefined) this.#waiting = this.#waiting.filter((request) => request !== found);
    return found;
  }

  /** Whether such a request waits. */
  some(is: (request: ExpertRequest) => boolean): boolean {
    return this.#waiting.some(is);
  }

  /** No request can be served any more. */
  fail(error: WeftError): void {
    this.#failure ??= error;
    this.#change.resolve();
  }

  /** Resolves when a request has come, or will never come, since the last call. */
  async changed(): Promise<void> {
    await this.#change.promise;
    this.#change = deferred();
  }

  async #listen(host: ExpertHost): Promise<void> {
    try {
      for await (const request of host.requests()) {
        this.#waiting.push(request);
        this.#change.resolve();
      }
      this.#failure = new WeftError('cancelled', 'the exchange with the ranks is closed');
    } catch (thrown) {
      this.#failure = WeftError.from(thrown);
    }
    this.#change.resolve();
  }
}
