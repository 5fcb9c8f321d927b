import picocolors from 'picocolors';

/** Takes text: stdout, stderr, or a string in a test. */
export interface Writer {
  write(text: string): void;
  readonly isTTY: boolean;
  /** Width in characters; 80 where the width is unknown. */
  readonly columns: number;
  /** Height in lines; 24 where the height is unknown. */
  readonly rows: number;
}

/** What a command sees of the outside world besides files and sockets. */
export interface Terminal {
  readonly stdout: Writer;
  readonly stderr: Writer;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The colours of stdout, or the identity where colour is unwanted. */
  readonly colors: Colors;
  /** How the person types this command: `weft`, or `npx weft` where it is not on the path. */
  readonly commandName: string;
}

/** Functions that color text, or leave it as it is. */
export type Colors = ReturnType<typeof picocolors.createColors>;

/** The terminal of this process. */
export function systemTerminal(): Terminal {
  return {
    stdout: createWriter(process.stdout),
    stderr: createWriter(process.stderr),
    env: process.env,
    colors: picocolors.createColors(wantsColor(process.env, process.stdout.isTTY === true)),
    commandName: commandName(process.env, process.argv[1] ?? ''),
  };
}

/** NO_COLOR (no-color.org) wins over FORCE_COLOR, which wins over the kind of the terminal. */
export function wantsColor(env: Terminal['env'], isTTY: boolean): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR && env.FORCE_COLOR !== '0') return true;
  return isTTY && env.TERM !== 'dumb';
}

/** How a person calls `weft` here: `weft`, or `npx weft` in a checkout. */
export function commandName(env: Terminal['env'], script: string): string {
  const typedAsPath = script.endsWith('weft.js');
  return env.npm_command !== undefined || typedAsPath ? 'npx weft' : 'weft';
}

const COMMANDS =
  'launch|compile|resume|stop|watch|status|logs|export|profile|diff|ls|queue|history|generate|eval|recipes|lr|data|doctor|monitor|coordinator|worker';
const MENTION = new RegExp(`(?<![\\w/.@-])(?<!npx )weft (?=(?:${COMMANDS})\\b)`, 'g');

/** Writes the commands that a sentence mentions as this person types them: `weft ls` becomes `npx weft ls`. */
export function asTyped(sentence: string, { commandName }: Pick<Terminal, 'commandName'>): string {
  return sentence.replaceAll(MENTION, `${commandName} `);
}

/** Prints one line on stdout. */
export function print(terminal: Terminal, line = ''): void {
  terminal.stdout.write(`${line}\n`);
}

/** Prints a value on one line of stdout, for programs. */
export function printJson(terminal: Terminal, value: object): void {
  print(terminal, JSON.stringify(value));
}

/** The exit code when the reader of a pipe closed it: as if SIGPIPE had ended the command. */
const BROKEN_PIPE = 141;

function createWriter(stream: NodeJS.WriteStream): Writer {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(BROKEN_PIPE);
    // The terminal is gone. SIGHUP tells the command, which then ends with a checkpoint and not in mid-step.
    if (error.code !== 'EIO') throw error;
  });
  return {
    write: (text) => void stream.write(text),
    get isTTY() {
      return stream.isTTY === true;
    },
    get columns() {
      // Some pseudo-terminals say 0.
      return stream.columns || 80;
    },
    get rows() {
      return stream.rows || 24;
    },
  };
}
