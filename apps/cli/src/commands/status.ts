import { type ProgressView, readGoodput, readProgress, withRun } from '@weft/client';
import { age, bytes, count, decimal, duration, percent, sourceCounts } from '@weft/common';
import {
  type MoeReport,
  type RunGoodput,
  type RunRanks,
  type RunView,
  TIME_BUCKET_NAMES,
  TIME_BUCKETS,
  totalSeconds,
} from '@weft/contracts';
import { shortPath } from '@weft/files';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { checkpointPath, expectedStart, nextSteps, statusStyle } from '../runs/describe-run.js';
import { type Line, printLines, type Span, span, summaryRows } from '../styled-lines.js';
import { asTyped, printJson } from '../terminal.js';

/** `weft status`: status and reason, speed and loss, the newest checkpoint, and what to do next. */
export async function status(context: CommandContext, text: string): Promise<number> {
  const { terminal, json } = context;
  return withRun(context, text, async ({ run, client }) => {
    const progress = await readProgress(run, client);
    const view = progress.view(Date.now());
    const goodput = await readGoodput(run, client);
    const ranks = run.status === 'running' ? await client?.ranks(run.runId) : undefined;
    if (json) {
      const { latest, tokensPerSecond, etaSeconds, sequences, sequencesAreWhole } = view;
      const known = { loss: latest?.loss ?? null, tokensPerSecond: tokensPerSecond ?? null };
      const eta = run.status === 'running' ? (etaSeconds ?? null) : null;
      const checkpoint = run.checkpointStep > 0 ? checkpointPath(run) : null;
      const consumed = sequencesAreWhole ? sequences : null;
      printJson(terminal, {
        ...run,
        ...known,
        etaSeconds: eta,
        sequences: consumed,
        checkpoint,
        latest,
        goodput: goodput ?? null,
        troubles: troublesOf(ranks),
      });
    } else {
      printLines(terminal, renderStatus(view, Date.now(), terminal.commandName, client?.address, goodput, ranks));
    }
    return EXIT.done;
  });
}

/** The lines of `weft status`. */
export function renderStatus(
  view: ProgressView,
  nowMs: number,
  weft: string,
  coordinator?: string,
  goodput?: RunGoodput,
  ranks?: RunRanks,
): Line[] {
  const { run, latest } = view;
  const pairs: [string, string | Span][] = [
    ['recipe', run.recipe],
    ['status', span(run.status, statusStyle(run.status))],
  ];
  if (run.reason !== '') pairs.push(['because', run.reason]);
  if (run.failure?.hint) pairs.push(['hint', asTyped(run.failure.hint, { commandName: weft })]);
  if (run.status === 'queued') pairs.push(['position', positionText(run, nowMs)]);
  if (run.priority !== 0) pairs.push(['priority', `${run.priority}`]);
  if (run.maxAttempts > 1) pairs.push(['attempts', `${run.failedAttempts} of ${run.maxAttempts} failed`]);
  if (run.parent !== null) pairs.push(['sweep', run.parent]);
  pairs.push(['step', `${run.step} of ${run.steps} (${percent(run.steps === 0 ? 0 : run.step / run.steps)})`]);
  pairs.push(['workers', workersText(view)]);
  for (const trouble of troublesOf(ranks)) pairs.push(['trouble', span(trouble, 'yellow')]);
  if (latest !== undefined) {
    pairs.push(['loss', decimal(latest.loss)]);
    if (view.heldOut !== undefined) pairs.push(['held-out loss', heldOutText(view.heldOut)]);
    if (view.taskScores !== undefined) pairs.push(...scoreRows(view.taskScores));
    pairs.push(['speed', `${count(view.tokensPerSecond ?? 0)} tokens/s${perStep(view)}`]);
    if (latest.moe !== undefined) pairs.push(...expertRows(latest.moe));
    if (view.sequencesAreWhole) pairs.push(['sequences', sourceCounts(view.sequences)]);
  }
  if (run.status === 'running' && view.etaSeconds !== undefined) pairs.push(['time left', duration(view.etaSeconds)]);
  if (goodput !== undefined) pairs.push(...goodputRows(goodput));
  pairs.push(['checkpoint', run.checkpointStep > 0 ? shortPath(checkpointPath(run)) : 'none yet']);
  pairs.push(['directory', shortPath(run.directory)]);
  pairs.push(['launched', age(nowMs - run.createdAtMs)], ['last change', age(nowMs - run.updatedAtMs)]);
  return [[span(run.runId, 'bold')], ...summaryRows(pairs), ...nextSteps(run, weft, coordinator)];
}

/** What is wrong with members of the run, each in one clause. */
function troublesOf(ranks: RunRanks | undefined): string[] {
  return (ranks?.ranks ?? []).flatMap(({ role, rank, workerId, hostName, trouble }) =>
    (trouble ?? null) === null
      ? []
      : `${role === 'rank' ? 'rank' : 'expert worker'} ${rank} (${workerId} on ${hostName}) ${trouble}`,
  );
}

/** What part of the time was productive, and what all of it was spent on, the most first. */
function goodputRows({ spent, goodput, cost, times }: RunGoodput): [string, string][] {
  const total = totalSeconds(spent);
  if (total <= 0) return [];
  const buckets = TIME_BUCKETS.filter((bucket) => spent[bucket] / total >= 0.001).toSorted(
    (a, b) => spent[b] - spent[a],
  );
  const parts = buckets.map((bucket) => `${TIME_BUCKET_NAMES[bucket]} ${percent(spent[bucket] / total)}`);
  const productive = goodput === null ? 'not trained yet' : `${percent(goodput)} of the time trained`;
  const rows: [string, string][] = [
    ['goodput', productive],
    ['time', `${duration(total)} of workers: ${parts.join(', ')}`],
  ];
  if (cost !== null)
    rows.push(['cost', `${cost.toFixed(2)} for ${(times.heldSeconds / 3600).toFixed(2)} worker hours`]);
  return rows;
}

function positionText({ queuePosition, expectedStartMs }: RunView, nowMs: number): string {
  if (queuePosition === null) return 'none: it is paused';
  return `${queuePosition}${expectedStartMs === null ? '' : `, starts ${expectedStart(expectedStartMs, nowMs)}`}`;
}

function workersText({ run }: ProgressView): string {
  const generation = run.generation > 0 ? `, generation ${run.generation}` : '';
  return run.worldSize > 0 && run.worldSize !== run.workers
    ? `${run.worldSize} of ${run.workers}${generation}`
    : `${run.workers}${generation}`;
}

/** The weighted mean, then every source that takes part, and when it was measured. */
function heldOutText({ step, loss, sources }: NonNullable<ProgressView['heldOut']>): string {
  const ofSources = Object.entries(sources).flatMap(([source, each]) =>
    each === null ? [] : `${source} ${decimal(each)}`,
  );
  return `${decimal(loss)} (${ofSources.join(', ')}), after step ${step}`;
}

/** A line for every task, and one for the means over tasks. */
function scoreRows({
  step,
  scores,
  average,
  textAverage,
}: NonNullable<ProgressView['taskScores']>): [string, string][] {
  const means = {
    ...(isEmpty(average) ? {} : { average }),
    ...(isEmpty(textAverage) ? {} : { 'text average': textAverage }),
  };
  return Object.entries({ ...scores, ...means }).map(([name, byShots], i) => {
    const each = Object.entries(byShots).map(
      ([shots, score]) => `${shots}-shot ${score === null ? 'none' : score.toFixed(1)}`,
    );
    return [i === 0 ? 'scores' : '', `${name} ${each.join(', ')}${i === 0 ? `, after step ${step}` : ''}`];
  });
}

const isEmpty = (value: object) => Object.keys(value).length === 0;

function perStep({ secondsPerStep }: ProgressView): string {
  return secondsPerStep === undefined ? '' : `, ${duration(secondsPerStep)} a step`;
}

/** A line for every MoE layer, and one for the exchange with the expert workers where there was one. */
export function expertRows({ layers, ...exchange }: MoeReport): [string, string][] {
  const ofLayers = layers.map(
    ({ layer, imbalance, droppedShare, loadBalanceLoss, routerZLoss, routerEntropy }, index) => {
      const load = `busiest ${imbalance.toFixed(2)} × the mean, ${percent(droppedShare)} dropped`;
      const router = `router entropy ${routerEntropy.toFixed(2)}, z ${routerZLoss.toFixed(2)}`;
      const text = `layer ${layer}: ${load}, load balance ${loadBalanceLoss.toFixed(2)}, ${router}`;
      return [index === 0 ? 'experts' : '', text] as [string, string];
    },
  );
  const { bytesSent, bytesReceived, waitingSeconds } = exchange;
  if (bytesSent === 0) return ofLayers;
  const text = `${bytes(bytesSent)} sent, ${bytes(bytesReceived)} received in the last step, ${duration(waitingSeconds)} spent waiting`;
  return [...ofLayers, ['exchange', text]];
}
