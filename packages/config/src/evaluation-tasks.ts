import { isJsonObject } from '@weft/common';

/** What an evaluation asks of a model: a text about an image, or which of several texts is likely. */
export const TASK_KINDS = ['caption', 'question', 'multipleChoice', 'lastWord'] as const;
export type TaskKind = (typeof TASK_KINDS)[number];

/** Stands for a file of examples: they are taken from the held-out sequences of the run. */
export const HELD_OUT_EXAMPLES = 'heldOut';

/** One task of an evaluation. Paths are files and folders; null where the task has none. */
export type EvaluationTask = ImageTask | TextTask;

/** A text is generated about an image: scored by CIDEr (captions), or VQA accuracy (answers). */
export interface ImageTask {
  readonly kind: 'caption' | 'question';
  /** The file of captions, or of questions with answers; `heldOut` for those of held-out sequences. */
  readonly examples: string;
  /** The file of questions, where `examples` only has the answers, as in VQA v2. */
  readonly questions: string | null;
  /** A folder or tar archive of images; null with `heldOut`. */
  readonly images: string | null;
  /** What shots are drawn from, in the same forms; null: the other examples. */
  readonly shotExamples: string | null;
  readonly shotQuestions: string | null;
  readonly shotImages: string | null;
  /** `{IMAGE}` stands for the image, `{QUESTION}` for the question; the answer follows after a space. */
  readonly prompt: string;
  /** Between two shots; a generated text ends where its first line ends. */
  readonly separator: string;
  /** The most tokens of a generated text; null: 30 for a caption and 10 for an answer, five times that in bytes. */
  readonly maxTokens: number | null;
}

/** Given texts are scored by their likelihood. */
export interface TextTask {
  readonly kind: 'multipleChoice' | 'lastWord';
  /** A file of JSON lines; `heldOut` for examples from held-out sequences. */
  readonly examples: string;
  /** What shots are drawn from; null: the other examples. */
  readonly shotExamples: string | null;
  /** Between two shots. */
  readonly separator: string;
}

/** The same tasks with other paths; what comes from held-out sequences has none. */
export function mapTaskPaths(
  tasks: Readonly<Record<string, EvaluationTask>>,
  map: (path: string | null) => string | null,
): Readonly<Record<string, EvaluationTask>> {
  const examples = (path: string) => (path === HELD_OUT_EXAMPLES ? path : (map(path) ?? path));
  const shots = (path: string | null) => (path === null ? null : examples(path));
  const withPaths = (task: EvaluationTask): EvaluationTask => {
    const both = { examples: examples(task.examples), shotExamples: shots(task.shotExamples) };
    if (!('images' in task)) return { ...task, ...both };
    const { questions, images, shotQuestions, shotImages } = task;
    const others = { questions: map(questions), images: map(images) };
    return { ...task, ...both, ...others, shotQuestions: map(shotQuestions), shotImages: map(shotImages) };
  };
  return Object.fromEntries(Object.entries(tasks).map(([name, task]) => [name, withPaths(task)]));
}

/** The prompts of MM1. */
export const DEFAULT_PROMPTS = {
  caption: '{IMAGE} A photo of',
  question: '{IMAGE} Question: {QUESTION} Short answer:',
} as const;

/** The word that stands for the tasks below, wherever tasks may be written. */
const DEMO = 'demo';

/** Tasks for the demo data: one of every kind, from held-out sequences. */
const DEMO_TASKS = Object.fromEntries(
  TASK_KINDS.map((kind) => [
    { caption: 'demo-captions', question: 'demo-questions', multipleChoice: 'demo-choices', lastWord: 'demo-words' }[
      kind
    ],
    { kind, examples: HELD_OUT_EXAMPLES },
  ]),
);

/** `tasks: demo` is short for the tasks of the demo data, and `shots: 0,4,8` for a list. */
export function expandEvaluation(value: unknown): unknown {
  if (!isJsonObject(value) || !isJsonObject(value.evaluation)) return value;
  const { evaluation } = value;
  const tasks = evaluation.tasks === DEMO ? { tasks: DEMO_TASKS } : {};
  const isList = /^\d+(,\d+)*$/.test(String(evaluation.shots));
  const shots =
    isList && !Array.isArray(evaluation.shots) ? { shots: String(evaluation.shots).split(',').map(Number) } : {};
  return { ...value, evaluation: { ...evaluation, ...tasks, ...shots } };
}
