import { createInterface } from 'node:readline';
import type { Round, RoundResult } from './candidate-spec.js';

const lines = createInterface(process.stdin)[Symbol.asyncIterator]();

/** The next message of the bench, one JSON object a line; undefined when it has closed stdin. */
export async function receive<Message>(): Promise<Message | undefined> {
  const line = await lines.next();
  if (line.done === true) return undefined;
  const message: Message = JSON.parse(line.value);
  return message;
}

export function send<Message>(message: Message): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** What is timed: one whole step, which resolves with its loss. */
export type Step = () => Promise<number>;

/**
 * Runs rounds of steps as the bench asks for them, until it sends `{ "end": true }`.
 *
 * @param onRound before each round; @param onStep after each step
 */
export async function runRounds(
  step: Step,
  { onRound, onStep }: { readonly onRound?: () => void; readonly onStep?: () => void } = {},
): Promise<void> {
  for (let round = await receive<Round>(); round?.steps !== undefined; round = await receive<Round>()) {
    onRound?.();
    send(await timed(step, round.steps, onStep));
  }
}

async function timed(step: Step, steps: number, onStep: (() => void) | undefined): Promise<RoundResult> {
  const [stepSeconds, losses]: [number[], number[]] = [[], []];
  const cpuBefore = process.cpuUsage();
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    losses.push(await step());
    stepSeconds.push((performance.now() - start) / 1000);
    onStep?.();
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  return { stepSeconds, losses, cpuSeconds: (user + system) / 1e6 };
}
