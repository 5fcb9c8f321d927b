import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCurves, readRows } from '@weft/client';
import { isRunId, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { PageCurves, PageExperts, PageSweep, PageSweepDetail } from '@weft/contracts';
import { runViewFromProto } from '@weft/contracts';
import type { Home } from '@weft/files';
import { SweepState, type SweepSummary } from '@weft/proto';
import type { Coordinator } from '../coordinator.js';
import type { Content } from './http.js';
import { readLogs, readLogsOfRun } from './log-files.js';
import { describePageRun, overviewOf } from './overview.js';
import { RunHistory } from './run-history.js';
import type { StepContents } from './step-contents.js';
import { predictFor, readFit } from './sweep-fit.js';

/** What routes answer from. */
export interface PageSources {
  readonly coordinator: Coordinator;
  readonly home: Home;
  readonly contents: StepContents;
  readonly histories: Map<string, RunHistory>;
}

/** The parts of a request that routes read. */
export interface PageRequest {
  /** The parts of the path that the pattern names. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/** Bytes as they are. Every other value is answered as JSON. */
export class RawContent {
  readonly content: Content;

  constructor(content: Content) {
    this.content = content;
  }
}

type Answer = (request: PageRequest, sources: PageSources) => unknown;

/** What the page asks for, by method and path; `:name` stands for one part of the path. */
const ROUTES: Readonly<Record<string, Answer>> = {
  'GET /api/overview': (_, { coordinator }) => overviewOf(coordinator),
  'GET /api/runs/:run': ({ params }, { coordinator }) => describePageRun(coordinator, runOf(params)),
  'GET /api/runs/:run/curves': readPageCurves,
  'GET /api/runs/:run/experts': readExperts,
  'GET /api/runs/:run/timeline': readTimeline,
  'GET /api/runs/:run/goodput': async ({ params }, { coordinator }) =>
    (await coordinator.goodputOf(runOf(params))) ?? null,
  'GET /api/runs/:run/ranks': ({ params }, { coordinator }) => coordinator.ranksOf(runOf(params)),
  'GET /api/runs/:run/logs': ({ params, query }, { coordinator, home }) => {
    const { runId, createdAtMs } = coordinator.runs.get(runOf(params));
    return readLogsOfRun(home, runId, createdAtMs, linesOf(query));
  },
  'GET /api/runs/:run/steps/:step': readStep,
  'GET /api/runs/:run/sequences/:source/:index': ({ params }, { contents, coordinator }) =>
    contents.ofSequence(
      configOf(coordinator, params),
      part(params, 'source'),
      whole(part(params, 'index'), 'the number of the sequence'),
      stepsOf(coordinator, params),
    ),
  'GET /api/runs/:run/sequences/:source/:index/images/:image': async ({ params }, { contents, coordinator }) => {
    const [index, image] = [whole(part(params, 'index'), 'a sequence'), whole(part(params, 'image'), 'an image')];
    return new RawContent(await contents.image(configOf(coordinator, params), part(params, 'source'), index, image));
  },
  'GET /api/sweeps': async (_, { coordinator }) => (await coordinator.sweeps.list()).sweeps.map(describeSweep),
  'GET /api/sweeps/:sweep': async ({ params }, { coordinator }) =>
    describeSweepDetail(await coordinator.sweeps.get({ sweepId: part(params, 'sweep') })),
  'GET /api/sweeps/:sweep/fit': async ({ params }, { coordinator, home }) =>
    readFit(home, (await coordinator.sweeps.get({ sweepId: part(params, 'sweep') })).sweepId),
  'GET /api/sweeps/:sweep/predict': async ({ params, query }, { coordinator, home }) => {
    const { sweepId } = await coordinator.sweeps.get({ sweepId: part(params, 'sweep') });
    return predictFor(home, sweepId, whole(query.get('params') ?? '', 'the number of parameters'));
  },
  'GET /api/sweeps/:sweep/fit.svg': async ({ params }, { coordinator, home }) => {
    const { sweepId } = await coordinator.sweeps.get({ sweepId: part(params, 'sweep') });
    const bytes = await readFile(join(home.sweepDirectory(sweepId), 'fit.svg'));
    return new RawContent({ type: 'image/svg+xml', bytes });
  },
  'GET /api/logs': ({ query }, { home }) =>
    readLogs(home, { file: query.get('file') ?? undefined, lines: linesOf(query) }),

  'POST /api/runs/:run/stop': async ({ params, body }, { coordinator }) =>
    runViewFromProto(
      await coordinator.runs.stop({ runId: runOf(params), saveCheckpoint: field(body, 'saveCheckpoint') !== false }),
    ),
  'POST /api/runs/:run/checkpoint': async ({ params }, { coordinator }) =>
    runViewFromProto(await coordinator.runs.saveCheckpoint({ runId: runOf(params) })),
  'POST /api/runs/:run/resume': async ({ params, body }, { coordinator }) => {
    const fromStep = optionalNumber(body, 'fromStep');
    const steps = optionalNumber(body, 'steps') ?? 0;
    const request = { runId: runOf(params), workers: 0, steps, expertWorkers: undefined, fromStep, settings: [] };
    return runViewFromProto(await coordinator.runs.resume(request));
  },
  'POST /api/queue/pause': ({ body }, { coordinator }) => coordinator.queue.pause({ id: text(body, 'id') }),
  'POST /api/queue/resume': ({ body }, { coordinator }) => coordinator.queue.resume({ id: text(body, 'id') }),
  'POST /api/queue/move': async ({ body }, { coordinator }) => {
    const [before, after] = [text(body, 'before'), text(body, 'after')];
    const to = before === '' ? ({ $case: 'after', after } as const) : ({ $case: 'before', before } as const);
    await coordinator.queue.move({ id: text(body, 'id'), to });
    return overviewOf(coordinator);
  },
};

/** The route of a path, with the parts that its pattern names; undefined where there is none. */
export function findRoute(
  method: string,
  path: string,
): { answer: Answer; params: Record<string, string> } | undefined {
  const parts = path.split('/');
  for (const [name, answer] of Object.entries(ROUTES)) {
    const [wanted, pattern = ''] = name.split(' ');
    const names = pattern.split('/');
    if (wanted !== method || names.length !== parts.length) continue;
    if (!names.every((each, at) => each.startsWith(':') || each === parts[at])) continue;
    const params = names.flatMap((each, at) =>
      each.startsWith(':') ? [[each.slice(1), decoded(parts[at] ?? '')]] : [],
    );
    return { answer, params: Object.fromEntries(params) as Record<string, string> };
  }
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new WeftError('invalid_argument', `${JSON.stringify(text)} is no part of an address`);
  }
}

/** Curves that take longer were not in columns: those of a long run of an older version, or of another coordinator. */
const SLOW_CURVES_MS = 300;

async function readPageCurves({ params, query }: PageRequest, { home, coordinator }: PageSources): Promise<PageCurves> {
  const runId = runOf(params);
  const beganMs = performance.now();
  const names = (query.get('names') ?? '').split(',').filter(Boolean);
  const curves = await readCurves({ directory: home.runDirectory(runId) }, names, rangeOf(query));
  // The next question finds them there.
  if (performance.now() - beganMs > SLOW_CURVES_MS) coordinator.saveCurves(runId);
  return curves;
}

async function readExperts({ params, query }: PageRequest, { home }: PageSources): Promise<PageExperts> {
  const rows = await readRows({ directory: home.runDirectory(runOf(params)) }, rangeOf(query));
  const withExperts = rows.flatMap(({ step, moe }) => (moe === undefined ? [] : { step, layers: moe.layers }));
  const layers = withExperts.at(-1)?.layers ?? [];
  return {
    steps: withExperts.map(({ step }) => step),
    layers: layers.map(({ layer }, at) => ({
      layer,
      load: withExperts.map((row) => relativeLoad(row.layers[at]?.routed ?? [])),
      dropped: withExperts.map((row) => row.layers[at]?.droppedShare ?? 0),
    })),
  };
}

/** Assignments of each expert over those of the average one. */
function relativeLoad(routed: readonly number[]): number[] {
  const average = routed.reduce((sum, count) => sum + count, 0) / Math.max(1, routed.length);
  return routed.map((count) => (average === 0 ? 0 : Number((count / average).toPrecision(3))));
}

function readTimeline({ params }: PageRequest, { coordinator, histories }: PageSources) {
  const runId = runOf(params);
  coordinator.runs.get(runId);
  const history = histories.get(runId) ?? new RunHistory(coordinator.store, runId);
  histories.set(runId, history);
  return history.read();
}

function readStep({ params }: PageRequest, { contents, coordinator }: PageSources) {
  const step = whole(part(params, 'step'), 'the step');
  const last = stepsOf(coordinator, params);
  if (step < 1 || step > last)
    throw new WeftError('not_found', `step ${step} has not been trained`, { hint: `ask for a step from 1 to ${last}` });
  return contents.ofStep(configOf(coordinator, params), step);
}

function describeSweep(sweep: SweepSummary): PageSweep {
  const { sweepId, createdAtMs, childrenEnded, childrenTotal } = sweep;
  return { sweepId, state: SWEEP_STATES[sweep.state] ?? 'running', createdAtMs, childrenEnded, childrenTotal };
}

function describeSweepDetail(sweep: SweepSummary): PageSweepDetail {
  const { sweepJson, resultJson, children } = sweep;
  return {
    ...describeSweep(sweep),
    plan: JSON.parse(sweepJson),
    result: resultJson === '' ? null : JSON.parse(resultJson),
    runs: children.map(runViewFromProto),
  };
}

const SWEEP_STATES: Partial<Readonly<Record<SweepState, PageSweep['state']>>> = {
  [SweepState.SWEEP_STATE_RUNNING]: 'running',
  [SweepState.SWEEP_STATE_READY]: 'ready',
  [SweepState.SWEEP_STATE_FINISHED]: 'finished',
  [SweepState.SWEEP_STATE_CANCELLED]: 'cancelled',
};

const part = (params: PageRequest['params'], name: string): string => params[name] ?? '';

/** It becomes part of a path. @throws WeftError `not_found` */
function runOf(params: PageRequest['params']): string {
  const runId = part(params, 'run');
  if (isRunId(runId)) return runId;
  throw new WeftError('not_found', `there is no run ${JSON.stringify(runId)}`);
}

function configOf({ state }: Coordinator, params: PageRequest['params']): RunConfig {
  const run = state.runs.get(runOf(params));
  if (run === undefined) throw new WeftError('not_found', `there is no run ${runOf(params)}`);
  return run.state.config;
}

const stepsOf = ({ state }: Coordinator, params: PageRequest['params']): number =>
  state.runs.get(runOf(params))?.state.step ?? 0;

function rangeOf(query: URLSearchParams) {
  const [from, to] = [optional(query, 'from'), optional(query, 'to')];
  const range = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  return { ...range, points: Math.min(5000, numberOf(query, 'points', 1000)) };
}

/** So many lines of a log. */
const linesOf = (query: URLSearchParams) => Math.min(MOST_LINES, Math.max(1, numberOf(query, 'lines', 300)));
const MOST_LINES = 5000;

const optional = (query: URLSearchParams, name: string) => (query.has(name) ? numberOf(query, name, 0) : undefined);

function numberOf(query: URLSearchParams, name: string, otherwise: number): number {
  const given = query.get(name);
  return given === null ? otherwise : whole(given, name);
}

function whole(given: string, name: string): number {
  const value = Number(given);
  if (given.trim() !== '' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new WeftError('invalid_argument', `${name} must be a whole number, not ${JSON.stringify(given)}`);
}

function field(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null
    ? Object.entries(body).find(([key]) => key === name)?.[1]
    : undefined;
}

/** A text of the body; empty where there is none. */
function text(body: unknown, name: string): string {
  const value = field(body, name) ?? '';
  if (typeof value === 'string') return value;
  throw new WeftError('invalid_argument', `${name} must be a text`);
}

function optionalNumber(body: unknown, name: string): number | undefined {
  const value = field(body, name);
  return value === undefined || value === null ? undefined : whole(String(value), name);
}
