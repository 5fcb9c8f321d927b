/** pino's number for errors; fatal is above it. */
const ERROR_LEVEL = 50;

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
    if (typeof entry !== 'object' || entry === null || !('level' in entry)) return undefined;
    const isError =
      typeof entry.level === 'number' ? entry.level >= ERROR_LEVEL : /^(error|fatal)$/i.test(`${entry.level}`);
    if (!isError) return undefined;
    const message = 'msg' in entry && typeof entry.msg === 'string' ? entry.msg : undefined;
    const cause = 'err' in entry && typeof entry.err === 'object' && entry.err !== null ? entry.err : {};
    const detail = 'message' in cause && typeof cause.message === 'string' ? cause.message : undefined;
    if (message === undefined || detail === undefined || message.includes(detail)) return message ?? detail;
    return `${message}: ${detail}`;
  } catch {
    return undefined;
  }
}
