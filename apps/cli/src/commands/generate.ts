import { UsageError } from '@weft/command-line';
import { duration, plural, WeftError } from '@weft/common';
import { isChat } from '@weft/config';
import {
  asMessage,
  checkpointParameters,
  type FinishReason,
  type GenerateOptions,
  type Generator,
  openGenerator,
  type Prompt,
} from '@weft/generation';
import { localPrecision, openExecutor } from '@weft/training';
import type { WrittenArgument } from '../arguments.js';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { type CheckpointChoice, type FoundCheckpoint, findCheckpoint, isComplete } from '../models/find-checkpoint.js';
import { generateBatch, prepareBatch } from '../models/generate-batch.js';
import { readPrompt, type WrittenSegment } from '../models/written-prompt.js';
import { EXIT } from '../report-error.js';
import { print, printJson } from '../terminal.js';

/** What `weft generate` is told. */
export interface GenerateCommandOptions {
  readonly image?: readonly WrittenArgument[];
  readonly prompt?: readonly WrittenArgument[];
  readonly step?: readonly number[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly stop?: readonly string[];
  readonly cut?: boolean;
  readonly raw?: boolean;
  readonly input?: string;
  readonly output?: string;
  readonly resume?: boolean;
  readonly batch: number;
  readonly set?: readonly string[];
}

/** `weft generate`: continues a prompt as it comes, or a file of prompts. */
export async function generate(
  context: CommandContext,
  model: string,
  options: GenerateCommandOptions,
): Promise<number> {
  const { step: steps = [], input, output, set = [] } = options;
  const prompt = written(options);
  if (input !== undefined && prompt.length > 0)
    throw new UsageError('--input reads the prompts from a file, so --prompt and --image cannot be given with it');
  if ((input === undefined) !== (output === undefined))
    throw new UsageError('--input and --output belong together: the file of prompts, and that of the answers');
  if (input === undefined && prompt.length === 0)
    throw new UsageError('there is nothing to continue: give --prompt, --image, or --input and --output');
  if (input !== undefined && steps.length > 1) throw new UsageError('--input takes one --step');
  const batch =
    input === undefined || output === undefined
      ? undefined
      : await prepareBatch({ input, output, resume: options.resume === true });
  const ready = await readPrompt(prompt);
  const interrupts = new Interrupts();
  const generateOptions = { ...optionsOf(options), signal: interrupts.first };
  try {
    let exitCode: number = EXIT.done;
    for (const step of steps.length > 0 ? steps : [undefined]) {
      const choice = { ...(step === undefined ? {} : { step }), set };
      const { generator, found } = await openModel(context, model, choice, batch === undefined ? 1 : options.batch);
      try {
        const { data } = found.config;
        const asked = (prompt: Prompt) =>
          isChat(data) && options.raw !== true ? asMessage(prompt, data.chatTemplate) : prompt;
        if (batch !== undefined)
          exitCode = await generateBatch(context, generator, { ...batch, asked }, generateOptions);
        else {
          const prompt = { ready: asked(ready), isOneOfMany: steps.length > 1 };
          await continuePrompt(context, generator, found, prompt, generateOptions);
        }
      } finally {
        await generator.close();
      }
    }
    return exitCode;
  } catch (thrown) {
    if (interrupts.first.aborted && WeftError.is(thrown, 'cancelled')) return EXIT.stopped;
    throw thrown;
  } finally {
    interrupts.close();
  }
}

/** Texts and images in the order of the command line. */
function written({ image = [], prompt = [] }: GenerateCommandOptions): WrittenSegment[] {
  return [
    ...image.map(({ order, text }) => ({ order, segment: { kind: 'image', path: text } as const })),
    ...prompt.map(({ order, text }) => ({ order, segment: { kind: 'text', text } as const })),
  ]
    .sort((a, b) => a.order - b.order)
    .map(({ segment }) => segment);
}

function optionsOf({ maxTokens, temperature, topP, seed, stop = [], cut }: GenerateCommandOptions): GenerateOptions {
  return {
    maxNewTokens: maxTokens,
    temperature,
    topP,
    seed,
    // A shell has no short way to write them.
    stop: stop.map((text) => text.replaceAll('\\n', '\n').replaceAll('\\t', '\t')),
    longPrompt: cut === true ? 'cutBeginning' : 'refuse',
  };
}

/** Finds and loads a checkpoint. The caller closes the generator. */
async function openModel(
  context: CommandContext,
  model: string,
  choice: CheckpointChoice,
  slots: number,
): Promise<{ readonly generator: Generator; readonly found: FoundCheckpoint }> {
  const { terminal, home } = context;
  const started = performance.now();
  const found = await findCheckpoint(home, model, choice);
  const { config, directory, manifest } = found;
  try {
    const generator = await openGenerator({
      config,
      parameters: checkpointParameters(config.model, directory, manifest),
      openExecutor: (program) =>
        openExecutor(program, {
          config: { ...config, precision: localPrecision(config), activationCheckpointing: 'none' },
          onCompile: ({ phase, seconds }) => {
            if (seconds >= LONG_COMPILE_SECONDS) terminal.stderr.write(`compiling ${phase}, ${duration(seconds)}\n`);
          },
        }),
      slots,
    });
    const seconds = (performance.now() - started) / 1000;
    terminal.stderr.write(
      `${config.recipe}, step ${manifest.step}, loaded in ${duration(seconds)}; ${generator.description}\n`,
    );
    return { generator, found };
  } catch (thrown) {
    // A run under way removes its older checkpoints, also one that is being read.
    if (choice.step !== undefined || (await isComplete(directory))) throw thrown;
    return openModel(context, model, choice, slots);
  }
}

/** Compiling is mentioned only where one would wonder. */
const LONG_COMPILE_SECONDS = 5;

const REASONS: Readonly<Record<FinishReason, string>> = {
  endOfText: 'the model ended the text',
  stop: 'a stop text came',
  maxNewTokens: '--max-tokens is reached',
  sequenceLength: 'model.sequenceLength is reached',
  failed: 'it failed',
};

/** Continues one prompt, on the terminal while it comes. */
async function continuePrompt(
  { terminal, json }: CommandContext,
  generator: Generator,
  { manifest }: FoundCheckpoint,
  { ready, isOneOfMany }: { readonly ready: Prompt; readonly isOneOfMany: boolean },
  options: GenerateOptions,
): Promise<void> {
  if (isOneOfMany && !json) print(terminal, `step ${manifest.step}:`);
  const started = performance.now();
  let [text, tokens] = ['', 0];
  let end: FinishReason = 'failed';
  for await (const event of generator.generate([ready], options)) {
    if (event.error !== undefined) throw event.error;
    text += event.text;
    tokens += event.tokenIds.length;
    if (!json) terminal.stdout.write(terminal.stdout.isTTY ? printable(event.text) : event.text);
    end = event.reason ?? end;
  }
  const seconds = (performance.now() - started) / 1000;
  if (json) {
    const { runId, step } = manifest;
    printJson(terminal, { type: 'generation', runId, step, text, tokens, reason: end, seconds });
    return;
  }
  if (!text.endsWith('\n')) print(terminal);
  terminal.stderr.write(`${plural(tokens, 'token')} in ${duration(seconds)}; ${REASONS[end]}\n`);
}

/** A model may write anything: what a terminal would take for a command is replaced. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\uFFFD');
}
