import { hostname } from 'node:os';
import { basename } from 'node:path';
import { checkManifest, verifyCheckpoint } from '@weft/checkpoint';
import { loadRunRecords, withRun } from '@weft/client';
import { count, plural, WeftError } from '@weft/common';
import { applySettings, type RunConfig, resolveRunConfig } from '@weft/config';
import { findSpike, type StepHistory, stepHistory } from '@weft/coordination';
import { replaySteps, type SequenceLoss } from '@weft/training';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { EXIT } from '../report-error.js';
import { withAbsolutePaths } from '../resolve-run.js';
import { printLines, span, table } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

/** The options of `weft diagnose`. */
export interface DiagnoseOptions {
  readonly step: number;
  /** How it is computed here. */
  readonly set?: readonly string[];
}

/** What a step came to. */
interface StepNumbers {
  readonly step: number;
  readonly loss: number | null;
  readonly gradNorm: number | null;
}

/** A step as the run had it, and as it is here. */
interface ComparedStep {
  readonly step: number;
  readonly recorded: StepNumbers;
  readonly replayed: StepNumbers;
  readonly agrees: boolean;
}

/**
 * `weft diagnose`: trains a step again, here, from the checkpoint before it and on the data it had. The same spike comes from
 * the data; another value, from the machines that trained it.
 */
export async function diagnose(context: CommandContext, text: string, options: DiagnoseOptions): Promise<number> {
  const { terminal, json, home } = context;
  const { runId, records, directory } = await withRun(context, text, async ({ run, client }) => ({
    runId: run.runId,
    records: await loadRunRecords(context, run.runId, client),
    directory: run.directory,
  }));
  const history = stepHistory(records, options.step);
  if (history === undefined)
    throw new WeftError('not_found', `step ${options.step} of ${runId} was never committed`, {
      hint: `weft data ledger ${runId} shows the steps there are`,
    });
  const checkpoint = await checkpointBefore(history, runId);
  const config = withAbsolutePaths(replayConfig(history.config, options.set), home);
  const firstStep = (checkpoint?.step ?? 0) + 1;
  if (!json)
    print(
      terminal,
      `Trains steps ${firstStep} to ${options.step} of ${runId} on ${hostname()}, from ${checkpoint === undefined ? 'its beginning' : basename(checkpoint.directory)}.`,
    );
  const compared: ComparedStep[] = [];
  const recordedOf = new Map([...history.before, history.step].map((each) => [each.entry.step, each]));
  const interrupts = new Interrupts();
  let losses: readonly SequenceLoss[] | undefined;
  try {
    losses = await replaySteps({
      runId,
      config,
      startFrom: checkpoint === undefined ? { kind: 'fresh' } : { kind: 'checkpoint', directory: checkpoint.directory },
      firstStep,
      lastStep: options.step,
      isApplied: (step) => recordedOf.get(step)?.entry.applied ?? true,
      onStep: ({ step, loss, gradNorm }) => {
        const recorded = recordedOf.get(step);
        if (recorded === undefined) return;
        const then = { step, loss: recorded.entry.loss, gradNorm: recorded.gradNorm };
        compared.push(compare(then, { step, loss: finite(loss), gradNorm: finite(gradNorm) }));
      },
      signal: interrupts.first,
    });
  } catch (thrown) {
    if (interrupts.first.aborted && WeftError.is(thrown, 'cancelled')) return EXIT.stopped;
    throw thrown;
  } finally {
    interrupts.close();
  }
  const verdict = judge(history, compared, runId);
  const sequences = losses?.map((each) => ({ ...each, loss: each.lossSum / each.lossTokens }));
  if (json)
    printJson(terminal, {
      type: 'diagnosis',
      runId,
      directory,
      ...verdict,
      steps: compared,
      sequences: sequences ?? null,
    });
  else {
    printLines(terminal, stepTable(compared.slice(-SHOWN_STEPS)));
    if (losses !== undefined) printLines(terminal, [[], ...sourceTable(losses)]);
    print(terminal, `${verdict.sentence}.`);
  }
  return EXIT.done;
}

const SHOWN_STEPS = 8;
/** Losses of other numbers of workers and other engines differ by less, relative to the loss. */
const LOSS_TOLERANCE = 1e-3;
/** Norms are sums of squares of all gradients, with more noise. */
const NORM_TOLERANCE = 1e-2;

const finite = (value: number) => (Number.isFinite(value) ? value : null);

export function compare(recorded: StepNumbers, replayed: StepNumbers): ComparedStep {
  const agrees =
    isClose(recorded.loss, replayed.loss, LOSS_TOLERANCE) &&
    isClose(recorded.gradNorm, replayed.gradNorm, NORM_TOLERANCE);
  return { step: recorded.step, recorded, replayed, agrees };
}

/** Both are no number, or they differ by at most a part of the larger. */
function isClose(a: number | null, b: number | null, tolerance: number): boolean {
  if (a === null || b === null) return a === b;
  return Math.abs(a - b) <= tolerance * Math.max(Math.abs(a), Math.abs(b));
}

/** What the comparison says. */
interface Verdict {
  /** `same`: the step was no spike, and is the same here. */
  readonly verdict: 'data' | 'hardware' | 'same';
  /** Without its full stop. */
  readonly sentence: string;
}

export function judge(
  { step: committed, recent, config, workers }: StepHistory,
  compared: readonly ComparedStep[],
  runId: string,
): Verdict {
  const { step } = committed.entry;
  const last = compared.find((each) => each.step === step);
  if (last === undefined) throw new WeftError('internal', `step ${step} was not trained again`);
  const { loss, gradNorm } = last.replayed;
  const isBroken = loss === null || gradNorm === null;
  const isSpike = isBroken || findSpike(recent, { loss, gradNorm }, config.divergence) !== undefined;
  const wasSpike = committed.spike !== undefined || committed.gradNorm === null;
  const numbers = `loss ${show(last.recorded.loss)} and gradient norm ${show(last.recorded.gradNorm)} then, ${show(loss)} and ${show(gradNorm)} here`;
  const ledger = `\`weft data ledger ${runId} --step ${step}\` names what it consumed`;
  if (wasSpike && (isSpike || last.agrees))
    return { verdict: 'data', sentence: `Data: step ${step} is the same spike here (${numbers}); ${ledger}` };
  if (last.agrees)
    return { verdict: 'same', sentence: `The same: step ${step} was no spike, and is none here (${numbers})` };
  const first = compared.find(({ agrees }) => !agrees)?.step ?? step;
  const since = first === step ? '' : `, and differs since step ${first}`;
  const names = workers.map(({ workerId, hostName }) => `${workerId} on ${hostName}`).join(', ');
  const isSameHost = workers.every(({ hostName }) => hostName === hostname());
  const doubt = isSameHost ? '. This is the same host: run it on another to be sure' : '';
  return {
    verdict: 'hardware',
    sentence: `Hardware: step ${step} is another here (${numbers})${since}; it was trained by ${names}${doubt}`,
  };
}

const show = (value: number | null) => (value === null ? 'not finite' : Number(value.toPrecision(5)).toString());

function stepTable(compared: readonly ComparedStep[]) {
  return table(
    [
      { title: 'step', align: 'right' },
      ...['loss then', 'here', 'gradient norm then', 'here'].map((title) => ({ title, align: 'right' }) as const),
      { title: '' },
    ],
    compared.map(({ step, recorded, replayed, agrees }) => [
      count(step),
      show(recorded.loss),
      show(replayed.loss),
      show(recorded.gradNorm),
      show(replayed.gradNorm),
      agrees ? '' : span('differs', 'red'),
    ]),
  );
}

/** Each source of the step: its loss here, and the sequence of it that had the greatest. */
function sourceTable(losses: readonly SequenceLoss[]) {
  const sources = [...new Set(losses.map(({ source }) => source))];
  const meanOf = ({ lossSum, lossTokens }: Pick<SequenceLoss, 'lossSum' | 'lossTokens'>) => lossSum / lossTokens;
  const isWorse = (a: SequenceLoss, b: SequenceLoss) => !(meanOf(a) <= meanOf(b));
  return table(
    [
      { title: 'source' },
      ...['sequences', 'loss here', 'greatest'].map((title) => ({ title, align: 'right' }) as const),
      { title: 'of' },
    ],
    sources.map((source) => {
      const own = losses.filter((each) => each.source === source && each.lossTokens > 0);
      const sum = (of: 'lossSum' | 'lossTokens') => own.reduce((total, each) => total + each[of], 0);
      const worst = own.reduce<SequenceLoss | undefined>(
        (a, b) => (a !== undefined && isWorse(a, b) ? a : b),
        undefined,
      );
      const mean = finite(sum('lossSum') / sum('lossTokens'));
      const greatest = worst === undefined ? '' : show(finite(meanOf(worst)));
      return [
        source,
        count(own.length),
        show(mean),
        greatest,
        worst === undefined ? '' : `${source}:${worst.sequence}`,
      ];
    }),
  );
}

/** The newest checkpoint before a step that is still what it was; undefined: the step lies before the first one. */
async function checkpointBefore(
  { step, checkpoints }: StepHistory,
  runId: string,
): Promise<{ readonly step: number; readonly directory: string } | undefined> {
  const problems: string[] = [];
  for (const checkpoint of checkpoints) {
    try {
      await checkManifest(checkpoint.directory, checkpoint.manifestSha256);
      await verifyCheckpoint(checkpoint.directory);
      return checkpoint;
    } catch (thrown) {
      problems.push(WeftError.from(thrown).message);
    }
  }
  if (checkpoints.length === 0) return undefined;
  throw new WeftError(
    'failed_precondition',
    `none of the ${plural(checkpoints.length, 'checkpoint')} of ${runId} before step ${step.entry.step} is there any more (${problems.join('; ')})`,
    { hint: 'keep more of them with checkpoint.keepLast or checkpoint.keepEvery' },
  );
}

/** The run with other settings of its engine: what it computes stays the same. */
function replayConfig(config: RunConfig, set: readonly string[] = []): RunConfig {
  const other = set.find((setting) => !setting.startsWith('engine.'));
  if (other !== undefined)
    throw new WeftError(
      'invalid_argument',
      `--set changes fields of engine here, and ${JSON.stringify(other)} is none`,
    );
  return resolveRunConfig(applySettings(config, set), 'the run');
}
