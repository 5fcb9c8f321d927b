import { WeftError } from '@weft/common';
import type { DecoderSession, ReadyPrompt } from './decoder-session.js';
import { encodePrompt, type Prompt, type PromptLimits } from './prompt.js';

/** A text behind a prompt. */
export interface LikelihoodQuery {
  readonly prompt: Prompt;
  readonly continuation: string;
}

/** How likely a continuation is. */
export interface LogLikelihood {
  /** Σ ln p of its tokens, each after the prompt and those before it. */
  readonly sum: number;
  /** Its tokens. */
  readonly tokens: number;
  /** Whether greedy decoding would give it. */
  readonly isGreedy: boolean;
}

/** The slot that all queries use. */
const SLOT = 0;

/**
 * The likelihood of every continuation. What a query shares with the beginning of the one before is not read again.
 * @throws WeftError `invalid_argument` for an empty prompt or continuation, or one that is too long; of an image
 */
export async function logLikelihoods(
  session: DecoderSession,
  limits: PromptLimits,
  queries: readonly LikelihoodQuery[],
): Promise<readonly LogLikelihood[]> {
  const results: LogLikelihood[] = [];
  let inCache: ReadyPrompt | undefined;
  for (const query of queries) {
    const { text, begin } = await joined(session, limits, query);
    const { length } = text.positions;
    // The last token of the prompt gives the likelihood of the first one of the continuation.
    const first = begin - 1;
    const known = inCache === undefined ? 0 : Math.min(commonBeginning(text, inCache), first);
    await session.prefill(SLOT, text, { first: known, end: first });
    const targetIds = text.positions.subarray(begin);
    const { logLikelihoods, tokenIds } = await session.score(SLOT, text, { first, end: length - 1 }, targetIds);
    inCache = { ...text, positions: text.positions.subarray(0, length - 1) };
    results.push({
      sum: logLikelihoods.reduce((sum, each) => sum + each, 0),
      tokens: targetIds.length,
      isGreedy: targetIds.every((id, i) => id === tokenIds[i]),
    });
  }
  return results;
}

/** Prompt and continuation as one text, and where the continuation begins. */
async function joined(session: DecoderSession, limits: PromptLimits, { prompt, continuation }: LikelihoodQuery) {
  const begin = encodePrompt(prompt, limits).positions.length;
  const last = prompt.at(-1);
  // Tokenized with the text before it: a word behind a space may be another token than the word alone.
  const whole: Prompt =
    last?.kind === 'text'
      ? [...prompt.slice(0, -1), { kind: 'text', text: last.text + continuation }]
      : [...prompt, { kind: 'text', text: continuation }];
  const encoded = encodePrompt(whole, { ...limits, sequenceLength: limits.sequenceLength + 1 });
  if (encoded.positions.length <= begin)
    throw new WeftError('invalid_argument', `the continuation ${JSON.stringify(continuation)} has no tokens`);
  return { text: await session.ready(encoded), begin };
}

/** How many positions two texts begin with alike. */
function commonBeginning(a: ReadyPrompt, b: ReadyPrompt): number {
  const isAlike = (position: number) => {
    const [entry, other] = [a.positions[position]!, b.positions[position]];
    if (entry !== other || entry >= 0) return entry === other;
    return a.imageRow(entry).every((value, channel) => value === b.imageRow(entry)[channel]);
  };
  let length = 0;
  while (length < a.positions.length && isAlike(length)) length++;
  return length;
}
