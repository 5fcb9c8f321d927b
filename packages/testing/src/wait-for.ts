import { WeftError } from '@weft/common';

export interface WaitOptions {
  /** Default 15,000: longer than a busy machine takes for anything, and shorter than a test may take. */
  readonly timeoutMs?: number;
  /** Default 10. */
  readonly intervalMs?: number;
}

/**
 * Asks again and again until the answer is neither undefined nor false, and returns it.
 * A question that throws counts as no answer yet.
 *
 * @throws WeftError `deadline_exceeded` that names `what`, with the question's last error as its cause.
 */
export async function waitFor<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  { timeoutMs = 15_000, intervalMs = 10 }: WaitOptions = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  do {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      cause = error;
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  } while (performance.now() < deadline);
  throw new WeftError('deadline_exceeded', `waited ${timeoutMs} ms in vain for ${what}`, { cause });
}
