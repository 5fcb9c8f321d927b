import { basename, dirname, join, resolve } from 'node:path';
import { inMemoryRing } from '@weft/collectives';
import { UsageError } from '@weft/command-line';
import { count, duration, plural, WeftError } from '@weft/common';
import { type ConfigLayer, fileLayer, type RunConfig, resolveLayers } from '@weft/config';
import { averageScores, type TaskScore, type TaskScores } from '@weft/contracts';
import { EvaluationFolder, type ScoreProgress, TaskEvaluator } from '@weft/evaluation';
import { Home, shortPath } from '@weft/files';
import { checkpointParameters } from '@weft/generation';
import { localPrecision, openExecutor } from '@weft/training';
import type { CommandContext } from '../context.js';
import { DataProgressDisplay } from '../data/data-progress.js';
import { Interrupts } from '../interrupts.js';
import { type FoundCheckpoint, findCheckpoint } from '../models/find-checkpoint.js';
import { EXIT } from '../report-error.js';
import { withAbsolutePaths } from '../resolve-run.js';
import { type Line, printLines, span, table } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

/** What `weft eval` is told. */
export interface EvaluateOptions {
  /** Names of tasks of the run, files of tasks, or `demo`. */
  readonly tasks?: readonly string[];
  readonly shots?: readonly number[];
  readonly limit?: number;
  readonly step?: readonly number[];
  readonly seed?: number;
  readonly output?: string;
  readonly batch: number;
  readonly set?: readonly string[];
}

/** `weft eval`: scores checkpoints by tasks. */
export async function evaluate(context: CommandContext, model: string, options: EvaluateOptions): Promise<number> {
  const { step: steps = [], set = [], output } = options;
  if (output !== undefined && steps.length > 1) throw new UsageError('--output takes the results of one --step');
  const interrupts = new Interrupts();
  try {
    for (const step of steps.length > 0 ? steps : [undefined]) {
      const found = await findCheckpoint(context.home, model, { ...(step === undefined ? {} : { step }), set });
      await evaluateCheckpoint(context, found, options, interrupts.first);
    }
    return EXIT.done;
  } catch (thrown) {
    if (interrupts.first.aborted && WeftError.is(thrown, 'cancelled')) return EXIT.stopped;
    throw thrown;
  } finally {
    interrupts.close();
  }
}

async function evaluateCheckpoint(
  context: CommandContext,
  { directory, manifest, config: trained }: FoundCheckpoint,
  options: EvaluateOptions,
  signal: AbortSignal,
): Promise<void> {
  const { terminal, json, home } = context;
  const config = await evaluationConfig(trained, manifest.config, options, home);
  const run = manifest.runId;
  const evaluator = await TaskEvaluator.open({
    ...{ config, run, slots: options.batch, tooManyShots: 'omit' },
    openExecutor: (program) =>
      openExecutor(program, {
        config: { ...config, precision: localPrecision(config), activationCheckpointing: 'none' },
      }),
  });
  const { omitted } = evaluator;
  const display = new DataProgressDisplay(context);
  const folder =
    options.output === undefined ? folderOf(directory, manifest.step) : new EvaluationFolder(resolve(options.output));
  let scores: TaskScores;
  try {
    const [group = undefined] = inMemoryRing(1);
    if (group === undefined) throw new WeftError('internal', 'a ring of one rank has no rank');
    const parameters = checkpointParameters(config.model, directory, manifest);
    const onFailure = (error: WeftError) => {
      throw error;
    };
    const onProgress = ({ task, shots, done, total }: ScoreProgress) =>
      display.show(`${task} ${shots}`, `${task}, ${shots}-shot: ${done} of ${plural(total, 'example')}`);
    scores = await evaluator.score({ step: manifest.step, parameters, folder, group, signal, onProgress, onFailure });
  } finally {
    display.close();
    await evaluator.close();
  }
  if (json)
    printJson(terminal, {
      type: 'evaluation',
      runId: run,
      step: manifest.step,
      ...scores,
      ...averageScores(scores.scores),
      directory: folder.directory,
    });
  else {
    print(terminal, `${run}, step ${manifest.step}:`);
    printLines(terminal, [
      ...renderScores(scores.scores),
      ...omitted.map(({ task, shots }) => [
        span(`${task}: ${plural(shots, 'shot')} fit in none of its prompts`, 'dim'),
      ]),
    ]);
    print(
      terminal,
      `${shortPath(folder.directory)} has the scores, their picture, and every example; ${duration(scores.seconds)}`,
    );
  }
}

/** A run's folder where the checkpoint is one of a run, else a folder beside it. */
function folderOf(checkpoint: string, step: number): EvaluationFolder {
  const parent = dirname(checkpoint);
  if (basename(parent) === 'checkpoints') return EvaluationFolder.ofRun(dirname(parent), step);
  return new EvaluationFolder(join(parent, `${basename(checkpoint)}-evaluation`));
}

/** The configuration of a run with the tasks, shots and limits of the command line. */
export async function evaluationConfig(
  trained: RunConfig,
  launched: unknown,
  options: EvaluateOptions,
  home: string,
): Promise<RunConfig> {
  const { evaluation } = trained;
  refuseTrainedExamples(trained, launched);
  const {
    tasks = [],
    shots = evaluation.shots,
    limit = evaluation.examplesPerTask,
    seed = evaluation.shotSeed,
  } = options;
  const chosen = {
    ...evaluation,
    tasks: namedTasks(trained, tasks),
    shots,
    examplesPerTask: limit,
    shotSeed: seed,
    tasksEverySteps: 0,
  };
  const files = tasks.filter((each) => !isName(each, trained));
  const layers: ConfigLayer[] = [{ value: { ...trained, expertWorkers: 0, evaluation: chosen } }];
  for (const file of files) layers.push(await tasksLayer(file, home));
  const config = withAbsolutePaths(resolveLayers(layers), home);
  if (Object.keys(config.evaluation.tasks).length > 0) return config;
  throw new UsageError('the run has no tasks of its own: give --tasks a file of tasks, or demo');
}

/** A checkpoint that was trained on everything holds out nothing, whatever it is told now. */
function refuseTrainedExamples({ evaluation }: RunConfig, launched: unknown): void {
  const { evaluation: before } = (launched ?? {}) as Partial<RunConfig>;
  const heldOut = before?.sequencesPerSource ?? 0;
  if (evaluation.sequencesPerSource <= heldOut) return;
  throw new WeftError(
    'invalid_argument',
    `evaluation.sequencesPerSource is ${evaluation.sequencesPerSource}, but the run held out ${heldOut}: the others it was trained on`,
    { hint: `leave it out, or set it to at most ${heldOut}` },
  );
}

const isName = (text: string, { evaluation }: RunConfig) => Object.hasOwn(evaluation.tasks, text);

/** The tasks of the run that are named; all of them where none is. */
function namedTasks({ evaluation }: RunConfig, names: readonly string[]): RunConfig['evaluation']['tasks'] {
  return Object.fromEntries(
    Object.entries(evaluation.tasks).filter(([name]) => names.length === 0 || names.includes(name)),
  );
}

/** A file of tasks, each by its name, or the word `demo`. */
export async function tasksLayer(text: string, home: string): Promise<ConfigLayer> {
  if (text === 'demo') return { value: { evaluation: { tasks: text } }, where: () => '--tasks demo' };
  if (!/\.(ya?ml|json)$/i.test(text))
    throw new UsageError(`--tasks: the run has no task ${text}, and it is neither demo nor a YAML or JSON file`);
  const file = await fileLayer(new Home(home).resolvePath(text));
  return { value: { evaluation: { tasks: file.value } }, where: (path) => file.where?.(path.slice(2)) ?? text };
}

/** A row for every task and for the means, a column for every number of shots; then what must be known about them. */
export function renderScores(scores: readonly TaskScore[]): Line[] {
  const shots = [...new Set(scores.map((each) => each.shots))].toSorted((a, b) => a - b);
  const tasks = [...new Set(scores.map(({ task }) => task))];
  const { average, textAverage } = averageScores(scores);
  const means = Object.entries({ average, 'text average': textAverage }).filter(
    ([, byShots]) => Object.keys(byShots).length > 0,
  );
  const cell = (value: number | undefined) => (value === undefined ? '' : value.toFixed(1));
  const rows = tasks.map((task) => {
    const own = scores.filter((each) => each.task === task);
    const values = shots.map((each) => cell(own.find((score) => score.shots === each)?.score));
    return [task, METRICS[own[0]?.kind ?? 'question'], count(own[0]?.examples ?? 0), ...values];
  });
  const columns = ['task', 'score', 'examples', ...shots.map((each) => `${each}-shot`)];
  return [
    ...table(
      columns.map((title, i) => ({ title, ...(i >= 2 ? { align: 'right' as const } : {}) })),
      [
        ...rows,
        ...means.map(([name, byShots]) => [span(name, 'bold'), '', '', ...shots.map((each) => cell(byShots[each]))]),
      ],
    ),
    ...scores.flatMap(notes),
  ];
}

const METRICS: Readonly<Record<TaskScore['kind'], string>> = {
  caption: '100 · CIDEr',
  question: 'VQA accuracy, %',
  multipleChoice: 'accuracy, %',
  lastWord: 'accuracy, %',
};

function notes({ task, shots, shortened, examples, second }: TaskScore): Line[] {
  const seconds =
    second === null
      ? []
      : [
          `${task}, ${shots}-shot: ${second.name === 'perplexity' ? `perplexity ${second.value.toPrecision(4)}` : `accuracy by likelihood per byte ${second.value.toFixed(1)} %`}`,
        ];
  const few =
    shortened === 0
      ? []
      : [
          `${task}: ${count(shortened)} of ${plural(examples, 'example')} had fewer than ${plural(shots, 'shot')}, because more did not fit into the sequence`,
        ];
  return [...seconds, ...few].map((text) => [span(text, 'dim')]);
}
