import type { ProcessGroup } from '@weft/collectives';
import type { RunConfig } from '@weft/config';
import type { TaskScores } from '@weft/contracts';
import { openRunTokenizer } from '@weft/data';
import { type Generator, type GeneratorOptions, openGenerator, type ParameterValues } from '@weft/generation';
import type { EvaluationFolder } from './evaluation-folder.js';
import { type ScoreOptions, type ScoreProgress, scoreTasks } from './score-tasks.js';
import { type OpenTasks, openTasks } from './tasks/open-tasks.js';
import { fittingShots, tooManyShots } from './tasks/task-prompts.js';

/** What a `TaskEvaluator` is opened with. */
export interface TaskEvaluatorOptions {
  readonly config: RunConfig;
  /** The name of the run, for titles. */
  readonly run: string;
  /** Makes the executor of a program, with the backend, precision and mesh of the run. */
  readonly openExecutor: GeneratorOptions['openExecutor'];
  /** Prompts that are continued at the same time. Default: as `openGenerator`. */
  readonly slots?: number;
  /** Where a number of shots fits into no prompt of a task: refuse the task, or leave the number out. Default: refuse. */
  readonly tooManyShots?: 'refuse' | 'omit';
}

/** A number of shots that a task is not scored with, because it fits into none of its prompts. */
export interface OmittedShots {
  readonly task: string;
  readonly shots: number;
}

/** One evaluation, of one step. */
export interface Evaluation {
  readonly step: number;
  /** The parameters of the model after the step. */
  readonly parameters: ParameterValues;
  readonly folder: EvaluationFolder;
  readonly group: Pick<ProcessGroup, 'rank' | 'worldSize' | 'allReduceSum'>;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ScoreProgress) => void;
  /** As in `ScoreOptions`. */
  readonly onFailure: ScoreOptions['onFailure'];
}

/** Scores the tasks of a run, step after step. The model is compiled once, when it is first needed. */
export class TaskEvaluator {
  readonly #options: TaskEvaluatorOptions;
  readonly #tasks: OpenTasks;
  /** Of every task, the numbers of shots that it is scored with. */
  readonly #shots: ReadonlyMap<string, readonly number[]>;
  #generator: Generator | undefined;

  /**
   * Reads the examples of all tasks and makes the first prompts, so that what is wrong with them is found before a model
   * is run.
   *
   * @throws WeftError as `openTasks` and `fittingShots`; `invalid_argument` for shots that fit into no prompt
   */
  static async open(options: TaskEvaluatorOptions): Promise<TaskEvaluator> {
    const { tasks, shots } = await readTasks(options);
    return new TaskEvaluator(options, tasks, shots);
  }

  private constructor(options: TaskEvaluatorOptions, tasks: OpenTasks, shots: ReadonlyMap<string, readonly number[]>) {
    this.#options = options;
    this.#tasks = tasks;
    this.#shots = shots;
  }

  /** What is left out, where that was asked for. */
  get omitted(): readonly OmittedShots[] {
    const { shots } = this.#options.config.evaluation;
    return [...this.#shots].flatMap(([task, fitting]) =>
      shots.filter((each) => !fitting.includes(each)).map((each) => ({ task, shots: each })),
    );
  }

  /**
   * Scores all tasks on all ranks together, and writes what came of it into the folder.
   *
   * @returns the same on every rank
   * @throws WeftError as `scoreTasks`
   */
  async score({ step, parameters, folder, group, signal, onProgress, onFailure }: Evaluation): Promise<TaskScores> {
    const { config, run } = this.#options;
    const generator = await this.#load(parameters);
    const scores = await scoreTasks({
      tasks: this.#tasks.tasks,
      shotsOf: (task) => this.#shots.get(task) ?? [],
      ...{ config, generator, group, signal, onFailure },
      ...(onProgress === undefined ? {} : { onProgress }),
      onResults: (task, shots, results) => folder.writeExamples(task, shots, results, group),
      onScored: async ({ task, shots }) => {
        if (group.rank === 0) await folder.joinExamples(task, shots, group.worldSize);
      },
    });
    if (group.rank === 0) await folder.writeResults(run, step, scores);
    return scores;
  }

  async close(): Promise<void> {
    await this.#generator?.close();
    await this.#tasks.close();
  }

  async #load(parameters: ParameterValues): Promise<Generator> {
    const { config, openExecutor, slots } = this.#options;
    if (this.#generator !== undefined) {
      await this.#generator.loadParameters(parameters);
      return this.#generator;
    }
    this.#generator = await openGenerator({
      config,
      parameters,
      openExecutor,
      ...(slots === undefined ? {} : { slots }),
    });
    return this.#generator;
  }
}

/** Finds out what is wrong with the tasks of a run, without a model. @throws WeftError as `TaskEvaluator.open` */
export async function checkTasks(config: RunConfig): Promise<void> {
  const { tasks } = await readTasks({ config });
  await tasks.close();
}

async function readTasks({
  config,
  tooManyShots: choice = 'refuse',
}: Pick<TaskEvaluatorOptions, 'config' | 'tooManyShots'>) {
  const tasks = await openTasks(config);
  try {
    const prompts = { config, tokenizer: await openRunTokenizer(config) };
    const shots = new Map<string, readonly number[]>();
    for (const task of tasks.tasks) {
      const { fitting, most } = fittingShots(prompts, task);
      const tooMany = config.evaluation.shots.find((each) => each > most);
      if (tooMany !== undefined && (choice === 'refuse' || fitting.length === 0))
        throw tooManyShots(prompts, task.name, tooMany, most);
      shots.set(task.name, fitting);
    }
    return { tasks, shots };
  } catch (thrown) {
    await tasks.close();
    throw thrown;
  }
}
