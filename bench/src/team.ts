import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** How to start one process. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** What a process said last on stderr is worth this much when it breaks down. */
const LAST_WORDS = 2000;

/** The processes of one contestant, who speak JSON lines. */
export class Team {
  readonly #members: readonly Member[];

  constructor(commands: readonly Command[]) {
    this.#members = commands.map((command) => new Member(command));
  }

  /** Says the same to everybody. */
  tell<Message>(message: Message): void {
    for (const member of this.#members) member.tell(message);
  }

  /** The next line of everybody, by rank. @throws Error with the last words of a process that left instead. */
  hear<Message>(): Promise<Message[]> {
    return Promise.all(this.#members.map((member) => member.hear<Message>()));
  }

  /** Waits until all have left. */
  async left(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.left()));
  }

  /** Ends whoever is still there. */
  kill(): void {
    for (const member of this.#members) member.kill();
  }
}

class Member {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<unknown>;
  #stderr = '';

  constructor({ program, args, environment }: Command) {
    const child = spawn(program, [...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    this.#process = child;
    this.#exit = Promise.race([
      once(child, 'exit'),
      once(child, 'error').then(([error]) => {
        this.#stderr += String(error);
      }),
    ]);
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stderr.on('data', (data) => {
      this.#stderr = (this.#stderr + String(data)).slice(-LAST_WORDS);
    });
    // Whoever left does not listen; that it left is noticed when it is heard.
    child.stdin.on('error', () => {});
  }

  tell<Message>(message: Message): void {
    this.#process.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  async hear<Message>(): Promise<Message> {
    const line = await this.#lines.next();
    if (line.done === true) {
      await this.#exit;
      throw new Error(reasonIn(this.#stderr) ?? `it left with status ${this.#process.exitCode}`);
    }
    const message: Message = JSON.parse(line.value);
    return message;
  }

  async left(): Promise<void> {
    await this.#exit;
  }

  kill(): void {
    if (this.#process.exitCode === null) this.#process.kill('SIGKILL');
  }
}

/** The line of a stack trace that names the error, of Node's or of Python's; else the last line. */
function reasonIn(stderr: string): string | undefined {
  const lines = stderr.trim().split('\n');
  return lines.findLast((line) => /^\w*Error\b.*:/.test(line)) ?? (lines.at(-1) || undefined);
}
