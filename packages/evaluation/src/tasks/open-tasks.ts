import { WeftError } from '@weft/common';
import { type EvaluationTask, HELD_OUT_EXAMPLES, type ImageTask, type RunConfig } from '@weft/config';
import { Dataset } from '@weft/data';
import type { Example } from './example.js';
import { heldOutExamples } from './held-out-examples.js';
import { readCaptions, readQuestions } from './image-examples.js';
import { ImageCollection } from './images.js';
import { readChoices, readLastWords } from './text-examples.js';

/** A task with its examples. Images are read when they are needed. */
export interface OpenTask {
  readonly name: string;
  readonly task: EvaluationTask;
  /** Those that are scored. */
  readonly examples: readonly Example[];
  /** What shots are drawn from: all examples, or those of another file. */
  readonly pool: readonly Example[];
}

/** The tasks of an evaluation, open. */
export interface OpenTasks {
  readonly tasks: readonly OpenTask[];
  close(): Promise<void>;
}

/** What tasks are opened for. */
export type TasksConfig = Pick<RunConfig, 'data' | 'model' | 'evaluation'>;

/**
 * Reads the examples of every task of a configuration, and finds their images.
 *
 * @throws WeftError `not_found`, `invalid_argument` or `corrupt_data` naming file and entry; as `Dataset.open` for tasks
 *   of held-out examples
 */
export async function openTasks(config: TasksConfig): Promise<OpenTasks> {
  const closing: { close(): Promise<void> }[] = [];
  const collections = new Map<string, Promise<ImageCollection>>();
  let dataset: Dataset | undefined;
  const imagesOf = async (path: string) => {
    const known = collections.get(path);
    if (known !== undefined) return known;
    const opening = ImageCollection.open(path);
    collections.set(path, opening);
    closing.push(await opening);
    return opening;
  };
  const examplesOf = async (name: string, task: EvaluationTask, files: ExampleFiles): Promise<readonly Example[]> => {
    const { examples: path, questions, images } = files;
    if (path === HELD_OUT_EXAMPLES) {
      if (dataset === undefined) {
        dataset = await Dataset.open(config);
        closing.push(dataset);
      }
      return refuseFew(name, await heldOutExamples(task.kind, dataset, config), config);
    }
    switch (task.kind) {
      case 'multipleChoice':
        return readChoices(path);
      case 'lastWord':
        return readLastWords(path);
      case 'caption':
        return readCaptions(path, await imagesOf(needed(name, images)));
      case 'question':
        return readQuestions(path, questions, await imagesOf(needed(name, images)));
    }
  };
  const close = async () => {
    for (const each of closing) await each.close();
  };
  try {
    const tasks: OpenTask[] = [];
    for (const [name, task] of Object.entries(config.evaluation.tasks)) {
      const all = await examplesOf(name, task, filesOf(task));
      const shots = shotFilesOf(task);
      const pool = shots === undefined ? all : await examplesOf(name, task, shots);
      tasks.push({ name, task, examples: all.slice(0, config.evaluation.examplesPerTask ?? undefined), pool });
    }
    return { tasks, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

interface ExampleFiles {
  readonly examples: string;
  readonly questions: string | null;
  readonly images: string | null;
}

function filesOf(task: EvaluationTask): ExampleFiles {
  return 'images' in task ? task : { examples: task.examples, questions: null, images: null };
}

/** Undefined where shots are drawn from the examples themselves. What is not named apart is the same as theirs. */
function shotFilesOf(task: EvaluationTask): ExampleFiles | undefined {
  if (task.shotExamples === null) return undefined;
  const { shotQuestions, shotImages, images }: Partial<ImageTask> = 'images' in task ? task : {};
  return { examples: task.shotExamples, questions: shotQuestions ?? null, images: shotImages ?? images ?? null };
}

function needed(name: string, images: string | null): string {
  if (images !== null) return images;
  throw new WeftError('invalid_argument', `the task ${name} has no images`, {
    hint: 'name a folder or tar archive of images in its field images',
  });
}

function refuseFew(name: string, examples: readonly Example[], { evaluation }: TasksConfig): readonly Example[] {
  if (examples.length > 0) return examples;
  throw new WeftError(
    'failed_precondition',
    `the ${evaluation.sequencesPerSource} held-out sequences of every source have no example for the task ${name}`,
    { hint: 'hold out more (evaluation.sequencesPerSource), or give the task a file of examples' },
  );
}
