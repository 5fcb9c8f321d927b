import type { ExpertHost, ExpertRequest, NormRequest, RowsRequest } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { Executor } from '@weft/engine';
import type { CheckpointSaver } from '../checkpoint-saver.js';
import type { ExpertDecision, ExpertLink, GenerationPlan, TrainOutcome, TrainSignals } from '../ports.js';
import { isEvaluated, isOver, isSaved, outcomeOf } from '../run-end.js';
import { accumulationOrder } from './accumulation-order.js';
import type { ExpertProgram } from './expert-program.js';
import { ExpertStep } from './expert-step.js';
import { RequestDesk } from './request-desk.js';
import { serveEvaluation } from './serve-evaluation.js';

export interface ExpertLoopOptions {
  readonly config: RunConfig;
  readonly program: ExpertProgram;
  readonly executor: Executor;
  readonly host: ExpertHost;
  readonly link: ExpertLink;
  readonly plan: GenerationPlan;
  readonly signals: TrainSignals;
  readonly saver: CheckpointSaver;
  /** How long others may wait for a rank that brings nothing; default 100 s, which is less than they wait for an answer. */
  readonly rankTimeoutMs?: number;
  /** Told of every decided step. */
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
/** Contributions to gradients that may wait before answers: each holds the memory of a call. */
const MAX_BACKLOG = 8;

/**
 * Serves the experts of one worker from the plan's first step until the run's last one, or the one it is asked to stop
 * after, and returns when this worker's last checkpoint part is on disk.
 * @throws WeftError `cancelled` when the generation is released, `unavailable` when a rank is gone, `deadline_exceeded`
 *         naming the rank that keeps the others waiting.
 */
export async function expertLoop(options: ExpertLoopOptions): Promise<TrainOutcome> {
  const { config, executor, host, link, plan, saver, signals } = options;
  let done = plan.firstStep - 1;
  if (isOver(config, signals, done) && plan.state.kind === 'keep') await saver.save(done, plan, link);
  try {
    const desk = new RequestDesk(host);
    // A generation that was released in the middle of a step has left gradients behind.
    if (!isOver(config, signals, done)) await executor.run('clear', {});
    while (!isOver(config, signals, done)) {
      options.onStep(await expertStep(options, desk, done + 1));
      done++;
      if (isEvaluated(config, done)) await serveEvaluation(options, desk, done);
      if (isSaved(config, signals, done)) await saver.save(done, plan, link);
    }
    await saver.settled();
    return outcomeOf(config, done);
  } catch (thrown) {
    const error = WeftError.from(thrown);
    if (!signals.released.aborted) await host.fail(error);
    throw error;
  }
}

async function expertStep(options: ExpertLoopOptions, desk: RequestDesk, number: number): Promise<ExpertStepResult> {
  const { config, executor, link, plan, program, rankTimeoutMs = RANK_TIMEOUT_MS } = options;
  const order = accumulationOrder(config, number, plan.worldSize);
  const step = new ExpertStep({ executor, program, step: number, order, worldSize: plan.worldSize });
  const beganMs = performance.now();
  try {
    const { decision, computeMs } = await untilDecided(step, desk, link, {
      window: 2 * config.microbatchesInFlight,
      rankTimeoutMs,
    });
    const decidedMs = performance.now();
    if (decision.apply) await executor.run('apply', applyInputs(decision, number));
    await executor.run('clear', {});
    const seconds = (ms: number) => ms / 1000;
    return {
      step: number,
      applied: decision.apply,
      computeSeconds: seconds(computeMs),
      idleSeconds: seconds(decidedMs - beganMs - computeMs),
      applySeconds: seconds(performance.now() - decidedMs),
    };
  } finally {
    step.dispose();
  }
}

/** Works on the ranks' requests until the step is decided, one piece of work after another. */
async function untilDecided(
  step: ExpertStep,
  desk: RequestDesk,
  link: ExpertLink,
  { window, rankTimeoutMs }: { readonly window: number; readonly rankTimeoutMs: number },
) {
  let decision: ExpertDecision | undefined;
  const decided = link.decision(step.step).then((heard) => {
    decision = heard;
  });
  // Thrown where it is awaited; when the ranks fail first, nobody awaits it.
  decided.catch(() => {});
  let computeMs = 0;
  while (decision === undefined) {
    const beganMs = performance.now();
    // Every rank can vote now: the decision may be on its way, whatever becomes of the ranks meanwhile.
    if (step.isAnswered) {
      await decided;
      continue;
    }
    const work = nextWork(step, desk, window);
    if (work === undefined) await untilChanged(step, desk, decided, rankTimeoutMs);
    else {
      await work;
      computeMs += performance.now() - beganMs;
    }
  }
  return { decision, computeMs };
}

/** @throws WeftError `deadline_exceeded` when somebody waits, and the rank whose turn it is brings nothing for too long. */
async function untilChanged(step: ExpertStep, desk: RequestDesk, decided: Promise<void>, rankTimeoutMs: number) {
  const change = Promise.race([desk.changed(), decided]);
  const slow = step.awaited;
  if (slow === undefined || !desk.holds((request) => request.step === step.step)) return change;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `rank ${slow.rank} brought nothing of step ${step.step}, microbatch ${slow.microbatch} for ${rankTimeoutMs / 1000} s while others waited`;
    const cure = `look at the log of rank ${slow.rank} for the reason`;
    timer = setTimeout(() => reject(new WeftError('deadline_exceeded', message, { cure })), rankTimeoutMs);
  });
  try {
    await Promise.race([change, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Answers come first, because ranks wait for them; what only adds to gradients fills the pauses. */
function nextWork(step: ExpertStep, desk: RequestDesk, window: number): Promise<void> | undefined {
  const due = step.dueLayer;
  if (due !== undefined && step.backlog > MAX_BACKLOG) return step.accumulate(due);
  // A rank that is far ahead of another waits, or its calls would fill the memory.
  const mayBegin = ({ direction, microbatch }: RowsRequest) =>
    direction === 'backward' || microbatch < step.wholeMicrobatches + window;
  const isCall = (request: ExpertRequest): request is RowsRequest =>
    request.kind === 'rows' && request.direction !== 'evaluate' && request.step === step.step && mayBegin(request);
  const call = desk.take(isCall);
  if (call !== undefined) return step.serve(call);
  if (due !== undefined) return step.accumulate(due);
  const isNorm = (request: ExpertRequest): request is NormRequest =>
    request.kind === 'squaredNorm' && request.step === step.step && step.isComplete;
  const norm = desk.take(isNorm);
  return norm && step.answerNorm(norm);
}

function applyInputs({ gradNorm, lossTokens }: ExpertDecision, step: number): Record<string, Float32Array> {
  const scalar = (value: number) => Float32Array.of(value);
  return { gradNorm: scalar(gradNorm), lossTokens: scalar(lossTokens), step: scalar(step) };
}
