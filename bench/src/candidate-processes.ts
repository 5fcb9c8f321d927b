import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** How to start one process. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** A file that its stderr is added to. */
  readonly log?: string;
}

/** Of stderr, so much is kept for the error message. */
const STDERR_TAIL_CHARACTERS = 2000;

/** The processes of one candidate; messages are JSON lines. */
export class CandidateProcesses {
  readonly #members: readonly CandidateProcess[];

  constructor(commands: readonly Command[]) {
    this.#members = commands.map((command) => new CandidateProcess(command));
  }

  /** Sends the same message to every process. */
  send<Message>(message: Message): void {
    for (const member of this.#members) member.send(message);
  }

  /** The next message of every process, by rank. @throws Error with what a process that exited instead printed last. */
  receive<Message>(): Promise<Message[]> {
    return Promise.all(this.#members.map((member) => member.receive<Message>()));
  }

  /** Resolves when all have exited. */
  async exited(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.exited()));
  }

  /** Kills those that still run. */
  kill(): void {
    for (const member of this.#members) member.kill();
  }
}

class CandidateProcess {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<unknown>;
  #stderr = '';

  constructor({ program, args, environment, log }: Command) {
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
      this.#stderr = (this.#stderr + String(data)).slice(-STDERR_TAIL_CHARACTERS);
      if (log !== undefined) appendFileSync(log, data);
    });
    // A process that has exited reads nothing; its exit is noticed when a message is awaited.
    child.stdin.on('error', () => {});
  }

  send<Message>(message: Message): void {
    this.#process.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  async receive<Message>(): Promise<Message> {
    const line = await this.#lines.next();
    if (line.done === true) {
      await this.#exit;
      const { exitCode, signalCode } = this.#process;
      const ended = signalCode === null ? `it exited with status ${exitCode}` : `it was ended by ${signalCode}`;
      throw new Error(errorLine(this.#stderr) ?? ended);
    }
    const message: Message = JSON.parse(line.value);
    return message;
  }

  async exited(): Promise<void> {
    await this.#exit;
  }

  kill(): void {
    if (this.#process.exitCode === null) this.#process.kill('SIGKILL');
  }
}

/** The line of a stack trace that names the error, of Node's or of Python's; else the last line. */
function errorLine(stderr: string): string | undefined {
  const lines = stderr.trim().split('\n');
  const named = lines.findLast((line) => /^[\w.]*Error\b.*:/.test(line));
  return named?.replace(/^Error: /, '') ?? (lines.at(-1) || undefined);
}
