// A measured process of ours: opens its contestant and takes steps as the bench asks for them on stdin.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Contestant, ContestantParts } from './contestant.js';
import type { ContestantSpec, Farewell, Hello, Ready, Start, Turn, TurnResult } from './contestant-spec.js';
import { openDecoder } from './decoder-contestant.js';
import { openGemm } from './gemm-contestant.js';
import { Profile } from './profile.js';
import { openTrainer } from './trainer-contestant.js';

const spec: ContestantSpec = JSON.parse(process.argv[2] ?? '{}');
const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
const profile = spec.trace ? new Profile() : undefined;

const contestant = await open({
  spec,
  profile,
  meet: async (address) => {
    say<Hello>(address === undefined ? {} : { address });
    const start = await hear<Start>();
    return start?.addresses ?? [];
  },
});
const firstLoss = await contestant.step();
const secondsToFirstStep = (Date.now() - spec.startedAtMs) / 1000;
say<Ready>({ engine: contestant.engine, firstLoss, secondsToFirstStep });

for (let turn = await hear<Turn>(); turn?.steps !== undefined; turn = await hear<Turn>()) {
  profile?.reset();
  say(await take(contestant, turn.steps));
}
say<Farewell>({ peakBytes: peakBytes(), ...(profile === undefined ? {} : { profile: profile.perStep() }) });
await contestant.close();
process.stdin.destroy();

function open(parts: ContestantParts): Promise<Contestant> {
  if (parts.spec.work === 'gemm') return openGemm(parts);
  const { model, isDataParallel } = parts.spec;
  return model.images === null && !isDataParallel ? openDecoder(parts) : openTrainer(parts);
}

async function take(contestant: Contestant, steps: number): Promise<TurnResult> {
  const [stepSeconds, losses]: [number[], number[]] = [[], []];
  const cpuBefore = process.cpuUsage();
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    losses.push(await contestant.step());
    stepSeconds.push((performance.now() - start) / 1000);
    profile?.endStep();
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  return { stepSeconds, losses, cpuSeconds: (user + system) / 1e6 };
}

/** The most memory this process ever held, itself only: Linux's maxRSS would include the parent it was forked from. */
function peakBytes(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

async function hear<Message>(): Promise<Message | undefined> {
  const line = await lines.next();
  if (line.done) return undefined;
  const message: Message = JSON.parse(line.value);
  return message;
}

function say<Message>(message: Message): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
