import type { ProcessGroup } from '@weft/collectives';
import { assertNever, WeftError } from '@weft/common';
import type { ImageTask, RunConfig, TextTask } from '@weft/config';
import type { TaskScore, TaskScores } from '@weft/contracts';
import type { Generator } from '@weft/generation';
import { rankSlice } from '@weft/topology';
import { Cider } from './scores/cider.js';
import { vqaAccuracy } from './scores/vqa-accuracy.js';
import type { Example } from './tasks/example.js';
import type { OpenTask } from './tasks/open-tasks.js';
import { answerTokens, continuationsOf, ImageBytes, promptOf, promptText, shownPrompt } from './tasks/task-prompts.js';

/** What came of one example, to look at. JSON-serialisable. */
export interface ExampleResult {
  readonly id: string;
  /** As the model read it; `<image>` stands for an image. */
  readonly prompt: string;
  /** What it generated; of a text task the likeliest choice, or the word that was asked for. */
  readonly output: string;
  /** What it is compared with. */
  readonly expected: readonly string[];
  /** The log-likelihoods of the choices, or of the word, in nats. */
  readonly logLikelihoods?: readonly number[];
  /** Why the model could not be asked; the score is NaN then, and so is that of the task. */
  readonly error?: string;
  /** As that of the task. */
  readonly score: number;
  readonly shots: number;
}

/** Options of `scoreTasks`. */
export interface ScoreOptions {
  readonly tasks: readonly OpenTask[];
  readonly config: Pick<RunConfig, 'model' | 'evaluation' | 'data'>;
  readonly generator: Pick<Generator, 'generate' | 'logLikelihoods' | 'tokenizer'>;
  readonly group: Pick<ProcessGroup, 'rank' | 'worldSize' | 'allReduceSum'>;
  readonly signal: AbortSignal;
  /** The numbers of shots of a task, by its name. Default: those of the configuration. */
  readonly shotsOf?: (task: string) => readonly number[];
  /** Called when an image of an example cannot be read; throws, to end the evaluation. */
  readonly onFailure: (error: WeftError) => void;
  /** Called with this rank's examples of a task, in order, once they are scored. */
  readonly onResults?: (task: string, shots: number, results: readonly ExampleResult[]) => Promise<void>;
  /** Called when all ranks have scored a task. */
  readonly onScored?: (score: TaskScore) => Promise<void>;
  /** Called after every example of this rank. */
  readonly onProgress?: (progress: ScoreProgress) => void;
}

/** How far an evaluation is on this rank. */
export interface ScoreProgress {
  readonly task: string;
  readonly shots: number;
  readonly done: number;
  readonly total: number;
}

/**
 * Scores every task with every number of shots. Each rank takes its part of the examples, and the scores of the examples
 * go around the ring; their mean is taken in one order, so that it does not depend on the number of ranks.
 *
 * @throws WeftError `cancelled` when the signal aborts, `unavailable` when the ring breaks; what `onFailure` throws
 */
export async function scoreTasks(options: ScoreOptions): Promise<TaskScores> {
  const startedMs = performance.now();
  const scores: TaskScore[] = [];
  for (const task of options.tasks) {
    for (const shots of options.shotsOf?.(task.name) ?? options.config.evaluation.shots) {
      const score = await scoreTask(options, task, shots);
      scores.push(score);
      await options.onScored?.(score);
    }
  }
  return { scores, seconds: (performance.now() - startedMs) / 1000 };
}

/** Numbers of an example that go around the ring. */
const FIELDS = 3;

async function scoreTask(options: ScoreOptions, open: OpenTask, shots: number): Promise<TaskScore> {
  const { group, onResults } = options;
  const { examples } = open;
  const { first, end } = rankSlice(0, examples.length, group.rank, group.worldSize);
  const scored = await scoreExamples(options, open, shots, first, end);
  await onResults?.(
    open.name,
    shots,
    scored.map(({ result }) => result),
  );
  const sums = new Float32Array(FIELDS * examples.length);
  for (const [i, { result, second }] of scored.entries())
    sums.set([result.score, second, result.shots], FIELDS * (first + i));
  // One of the ranks has an example, the others add zeros: the same bits on any number of ranks.
  await group.allReduceSum(sums);
  const mean = (field: number) =>
    examples.reduce((sum, _, i) => sum + (sums[FIELDS * i + field] ?? 0), 0) / examples.length;
  return {
    task: open.name,
    kind: open.task.kind,
    shots,
    score: mean(0),
    examples: examples.length,
    second: secondScore(open.task.kind, mean(1)),
    shortened: examples.filter((_, i) => (sums[FIELDS * i + 2] ?? 0) < shots).length,
  };
}

/** An example with its second score: see `secondScore`. */
interface Scored {
  readonly result: ExampleResult;
  readonly second: number;
}

/** What a task reports beside its score, of the mean of the second scores. */
function secondScore(kind: OpenTask['task']['kind'], mean: number): TaskScore['second'] {
  if (kind === 'multipleChoice') return { name: 'accuracyPerByte', value: mean };
  if (kind === 'lastWord') return { name: 'perplexity', value: Math.exp(-mean) };
  return null;
}

async function scoreExamples(
  options: ScoreOptions,
  open: OpenTask,
  shots: number,
  first: number,
  end: number,
): Promise<readonly Scored[]> {
  const { task, name } = open;
  const progress = (done: number) => options.onProgress?.({ task: name, shots, done, total: end - first });
  progress(0);
  switch (task.kind) {
    case 'caption':
    case 'question':
      return scoreGenerations(options, { ...open, task }, shots, [first, end], progress);
    case 'multipleChoice':
    case 'lastWord':
      return scoreLikelihoods(options, { ...open, task }, shots, [first, end], progress);
    default:
      return assertNever(task);
  }
}

type ImageTaskOpen = OpenTask & { readonly task: ImageTask };
type TextTaskOpen = OpenTask & { readonly task: TextTask };

/** Captions and answers: what the model writes, without choosing at random. */
async function scoreGenerations(
  options: ScoreOptions,
  open: ImageTaskOpen,
  shots: number,
  [first, end]: readonly [number, number],
  progress: (done: number) => void,
): Promise<readonly Scored[]> {
  const { generator, signal } = options;
  const space = { ...options, tokenizer: generator.tokenizer };
  const own = open.examples.slice(first, end);
  const maxNewTokens = answerTokens(space, open.task, []);
  const images = new ImageBytes();
  const asked = new Map<number, { readonly prompt: string; readonly shots: number }>();
  const outputs = own.map(() => '');
  const failures = new Map<number, WeftError>();
  let done = 0;
  // Made when its turn comes: there may be hundreds of thousands.
  const sources = own.map((example, i) => () => {
    const prompt = promptOf(space, open, example, shots);
    asked.set(i, { prompt: shownPrompt(prompt), shots: prompt.shots });
    return images.prompt(prompt.parts);
  });
  const stop = [...new Set(['\n', open.task.separator])];
  for await (const { index, text, done: isDone, error } of generator.generate(sources, {
    maxNewTokens,
    stop,
    signal,
  })) {
    if (error !== undefined) {
      const failure = located(error, own[index]?.where ?? '');
      failures.set(index, failure);
      options.onFailure(failure);
    }
    outputs[index] += text;
    if (isDone) progress(++done);
  }
  const scoreOf = scorer(open);
  return own.map((example, i) => {
    const output = (outputs[i] ?? '').trim();
    const failure = failures.get(i);
    const { prompt = '', shots = 0 } = asked.get(i) ?? {};
    const result = { id: example.id, prompt, output, expected: expectedOf(example), shots };
    if (failure !== undefined) return { result: { ...result, error: failure.message, score: Number.NaN }, second: 0 };
    return { result: { ...result, score: 100 * scoreOf(example, first + i, output) }, second: 0 };
  });
}

/** An error of an example, with the example in front. */
function located(error: WeftError, where: string): WeftError {
  if (error.message.startsWith(where)) return error;
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new WeftError(error.code, `${where}: ${error.message}`, { cause: error, ...hint });
}

/** Scores an output, 0 to 1; CIDEr up to 10. CIDEr weighs words by the references of all examples, on every rank. */
function scorer({ task, examples }: ImageTaskOpen): (example: Example, index: number, output: string) => number {
  if (task.kind === 'question') return (example, _, output) => vqaAccuracy(output, expectedOf(example));
  const cider = ciders.get(examples) ?? new Cider(examples.map((example) => expectedOf(example)));
  ciders.set(examples, cider);
  return (_, index, output) => cider.score(index, output);
}

/** Of every list of captions, because counting their words takes a while. */
const ciders = new WeakMap<readonly Example[], Cider>();

/** Queries of one call: the generator looks at the signal between calls only. */
const QUERIES_PER_CALL = 16;

/** Choices and last words: how likely they are behind the context. */
async function scoreLikelihoods(
  options: ScoreOptions,
  open: TextTaskOpen,
  shots: number,
  [first, end]: readonly [number, number],
  progress: (done: number) => void,
): Promise<readonly Scored[]> {
  const { generator, signal } = options;
  const space = { ...options, tokenizer: generator.tokenizer };
  const scored: Scored[] = [];
  for (let start = first; start < end; start += QUERIES_PER_CALL) {
    if (signal.aborted) throw new WeftError('cancelled', 'the evaluation was cancelled');
    const asked = open.examples
      .slice(start, Math.min(end, start + QUERIES_PER_CALL))
      .map((example) => ({ example, texts: continuationsOf(example), prompt: promptOf(space, open, example, shots) }));
    const queries = asked.flatMap(({ texts, prompt }) =>
      texts.map((continuation) => ({ prompt: promptText(prompt), continuation })),
    );
    const likelihoods = (await generator.logLikelihoods(queries)).values();
    for (const { example, texts, prompt } of asked) {
      const found = texts.map(() => likelihoods.next().value ?? { sum: Number.NaN, isGreedy: false });
      const sums = found.map(({ sum }) => sum);
      const best = likeliestOf(sums);
      const isChoice = example.kind === 'multipleChoice';
      const perByte = likeliestOf(sums.map((sum, i) => sum / Buffer.byteLength(texts[i] ?? '')));
      const isRight = isChoice ? best === example.right : (found[0]?.isGreedy ?? false);
      const result: ExampleResult = {
        id: example.id,
        prompt: shownPrompt(prompt),
        output: (texts[best] ?? '').trim(),
        expected: expectedOf(example),
        logLikelihoods: sums,
        score: isRight ? 100 : 0,
        shots: prompt.shots,
      };
      scored.push({ result, second: isChoice ? (perByte === example.right ? 100 : 0) : (sums[0] ?? 0) });
    }
    progress(scored.length);
  }
  return scored;
}

const likeliestOf = (values: readonly number[]) => values.indexOf(Math.max(...values));

function expectedOf(example: Example): readonly string[] {
  switch (example.kind) {
    case 'caption':
      return example.references;
    case 'question':
      return example.answers;
    case 'multipleChoice':
      return [example.choices[example.right]?.trim() ?? ''];
    case 'lastWord':
      return [example.word.trim()];
    default:
      return assertNever(example);
  }
}
