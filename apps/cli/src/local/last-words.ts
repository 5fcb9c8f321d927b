/**
 * The sentence in which a process said why it died, from the end of its log: the `error: …` line of a command, the
 * last error of a JSON log, or the message of an uncaught exception. `undefined` when it said nothing of the kind.
 */
export function lastWords(log: string): string | undefined {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  for (const line of lines.toReversed()) {
    const sentence = fromCommand(line) ?? fromJson(line) ?? fromException(line);
    if (sentence !== undefined) return sentence;
  }
  return undefined;
}

const fromCommand = (line: string) => line.match(/^error: (.+)$/)?.[1];

/** `TypeError: x is not a function`, `Error [ERR_X]: …`, but no line of the stack below it. */
const fromException = (line: string) => line.match(/^(?:Uncaught )?\w*Error(?: \[\w+\])?: (.+)$/)?.[1];

function fromJson(line: string): string | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const entry: unknown = JSON.parse(line);
    if (!isGroup(entry) || (entry.level !== 'error' && entry.level !== 'fatal')) return undefined;
    const message = textOf(entry.message);
    const detail = isGroup(entry.error) ? textOf(entry.error.message) : undefined;
    if (message === undefined || detail === undefined || message.includes(detail)) return message ?? detail;
    return `${message}: ${detail}`;
  } catch {
    return undefined;
  }
}

const isGroup = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const textOf = (value: unknown) => (typeof value === 'string' ? value : undefined);
