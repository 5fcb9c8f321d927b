import { createReadStream } from 'node:fs';
import { access, open, readFile, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { duration, isJsonObject, type JsonObject, plural, WeftError } from '@weft/common';
import { isMissing } from '@weft/files';
import type { FinishReason, GenerateOptions, Generator, Prompt, PromptSource } from '@weft/generation';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { printJson } from '../terminal.js';
import { parseBatchLine, readPrompt } from './written-prompt.js';

/** Where prompts come from and answers go, one JSON object a line. */
export interface BatchFiles {
  readonly input: string;
  readonly output: string;
  /** Goes on behind the last whole line of the output. */
  readonly resume: boolean;
}

/** What became of one line. */
interface Answer {
  id: unknown;
  text: string;
  tokens: number;
  reason: FinishReason | undefined;
  error: WeftError | undefined;
}

const PROGRESS_INTERVAL_MS = 2_000;

/** A batch that was looked through before a model is loaded for it. */
export interface PreparedBatch extends BatchFiles {
  readonly lines: number;
  /** Lines that the output answers already, and how many of those answers are errors. */
  readonly done: { readonly lines: number; readonly failed: number };
}

/**
 * Looks at the files of a batch. Cuts off the last line of an output that is resumed, where it is not whole.
 * @throws WeftError `not_found` for a missing input or folder of the output, `invalid_argument` for an output that is
 *         there already, or is not one of this input
 */
export async function prepareBatch(files: BatchFiles): Promise<PreparedBatch> {
  const lines = await countLines(files.input);
  const folder = dirname(files.output);
  await access(folder).catch((cause: unknown) => {
    throw new WeftError('not_found', `--output: the folder ${folder} does not exist`, { cause });
  });
  return { ...files, lines, done: await answersIn(files, lines) };
}

/**
 * Continues every prompt of a file, several at a time, and writes the answers in the order of the prompts, each as soon as
 * it and those before it are there. `asked` puts a prompt into the words of a chat template. A line that cannot be read gets an answer that says why; the exit code is then 1.
 */
export async function generateBatch(
  { terminal, json }: CommandContext,
  generator: Generator,
  batch: PreparedBatch & { readonly asked: (prompt: Prompt) => Prompt },
  options: GenerateOptions,
): Promise<number> {
  const { input, output, lines, done } = batch;
  const file = await open(output, 'a');
  const answers = new Map<number, Answer>();
  const started = performance.now();
  let [written, failed, tokens, toldMs] = [done.lines, done.failed, 0, started];
  const seconds = () => (performance.now() - started) / 1000;
  const report = () => {
    const speed = `${(tokens / Math.max(seconds(), 1e-3)).toFixed(1)} tokens/s`;
    const wrong = failed === 0 ? '' : `, ${failed} failed`;
    return `${written} of ${plural(lines, 'line')}${wrong}, ${speed}, ${duration(seconds())}`;
  };
  try {
    const prompts = promptsOf(batch, answers);
    for await (const event of generator.generate(prompts, { ...options, firstIndex: done.lines })) {
      const answer = answers.get(event.index);
      if (answer === undefined)
        throw new WeftError('internal', `an answer to line ${event.index}, which was not asked`);
      answer.text += event.text;
      answer.tokens += event.tokenIds.length;
      answer.reason = event.reason ?? undefined;
      answer.error = event.error;
      tokens += event.tokenIds.length;
      for (let next = answers.get(written); next?.reason !== undefined; next = answers.get(written)) {
        answers.delete(written++);
        if (next.error !== undefined) {
          failed++;
          terminal.stderr.write(`${input}:${written}: ${next.error.sentence}\n`);
        }
        await file.write(`${JSON.stringify({ line: written, ...contentOf(next) })}\n`);
      }
      if (performance.now() - toldMs < PROGRESS_INTERVAL_MS) continue;
      toldMs = performance.now();
      terminal.stderr.write(`${report()}\n`);
    }
    await file.sync();
  } catch (thrown) {
    if (WeftError.is(thrown, 'cancelled')) terminal.stderr.write(`${report()}: go on with --resume\n`);
    throw thrown;
  } finally {
    await file.close();
  }
  if (json) printJson(terminal, { type: 'generations', lines, written, failed, tokens, seconds: seconds(), output });
  else terminal.stderr.write(`${report()}: ${output}\n`);
  return failed === 0 ? EXIT.done : EXIT.failed;
}

function contentOf({ id, text, tokens, reason, error }: Answer): object {
  const named = id === undefined ? {} : { id };
  if (error !== undefined) return { ...named, error: { code: error.code, message: error.message } };
  return { ...named, text, tokens, reason };
}

/** The prompts behind the first `done` lines. A bad line fails when it is read, as one with a missing image does. */
async function* promptsOf(
  { input, done, asked }: Parameters<typeof generateBatch>[2],
  answers: Map<number, Answer>,
): AsyncGenerator<PromptSource, void> {
  let number = 0;
  for await (const line of linesOf(input)) {
    if (number++ < done.lines) continue;
    const answer: Answer = { id: undefined, text: '', tokens: 0, reason: undefined, error: undefined };
    answers.set(number - 1, answer);
    yield async () => {
      const { id, prompt } = parseBatchLine(line, dirname(input));
      answer.id = id;
      return asked(await readPrompt(prompt));
    };
  }
}

function linesOf(path: string): AsyncIterable<string> {
  return createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY });
}

async function countLines(path: string): Promise<number> {
  let lines = 0;
  try {
    for await (const _ of linesOf(path)) lines++;
  } catch (thrown) {
    if (isMissing(thrown)) throw new WeftError('not_found', `--input: ${path} does not exist`, { cause: thrown });
    throw WeftError.from(thrown);
  }
  return lines;
}

async function answersIn({ input, output, resume }: BatchFiles, lines: number): Promise<PreparedBatch['done']> {
  const content = await readFile(output).catch((thrown: unknown) => {
    if (isMissing(thrown)) return undefined;
    throw WeftError.from(thrown);
  });
  if (content === undefined || content.length === 0) return { lines: 0, failed: 0 };
  if (!resume)
    throw new WeftError('invalid_argument', `--output: ${output} is there already`, {
      hint: 'go on behind its last line with --resume, or name another file',
    });
  const whole = content.subarray(0, content.lastIndexOf('\n') + 1);
  const answers = whole.toString('utf8').split('\n').slice(0, -1).map(parseAnswer);
  const wrong = answers.findIndex((answer, i) => answer.line !== i + 1 || i >= lines);
  if (wrong >= 0)
    throw new WeftError('invalid_argument', `--output: line ${wrong + 1} of ${output} answers no line of ${input}`, {
      hint: 'name another file',
    });
  if (whole.length < content.length) await truncate(output, whole.length);
  return { lines: answers.length, failed: answers.filter(({ error }) => error !== undefined).length };
}

function parseAnswer(line: string): JsonObject {
  try {
    const value: unknown = JSON.parse(line);
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}
