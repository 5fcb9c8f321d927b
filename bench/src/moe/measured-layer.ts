// A measured process of ours: opens the layer and takes steps as the bench asks for them on stdin.
import { createInterface } from 'node:readline';
import { createExecutor } from '@weft/engine';
import type { Turn, TurnResult } from '../contestant-spec.js';
import { loadWeights } from '../load-fixture.js';
import { fingerprint } from './fingerprint.js';
import { DIFFERENTIATED, layerProgram } from './layer-program.js';
import type { Fingerprint, LayerReady, LayerSpec, Result } from './layer-spec.js';

const { size, precision, threads, fixture }: LayerSpec = JSON.parse(process.argv[2] ?? '{}');
const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
const program = layerProgram(size);
const executor = createExecutor(program, { kind: 'graph', precision, threads });
await loadWeights(executor, program, fixture);

await step();
say<LayerReady>({ engine: executor.description, results: await results() });
for (let turn = await hear(); turn?.steps !== undefined; turn = await hear()) say(await take(turn.steps));
await executor.dispose();
process.stdin.destroy();

async function step(): Promise<number> {
  const { objective } = await executor.run('step', {});
  const value = objective?.data[0] ?? Number.NaN;
  objective?.dispose();
  return value;
}

async function results(): Promise<Record<Result, Fingerprint>> {
  const names = ['output', ...DIFFERENTIATED.map((name) => `gradient/${name}`)];
  const state = await executor.readState(names);
  const taken = Object.entries(state).map(([name, { data }]) => [name.replace('gradient/', ''), fingerprint(data)]);
  for (const tensor of Object.values(state)) tensor.dispose();
  const byResult: Record<Result, Fingerprint> = Object.fromEntries(taken);
  return byResult;
}

async function take(steps: number): Promise<TurnResult> {
  const [stepSeconds, losses]: [number[], number[]] = [[], []];
  const cpuBefore = process.cpuUsage();
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    losses.push(await step());
    stepSeconds.push((performance.now() - start) / 1000);
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  return { stepSeconds, losses, cpuSeconds: (user + system) / 1e6 };
}

async function hear(): Promise<Turn | undefined> {
  const line = await lines.next();
  if (line.done === true) return undefined;
  const turn: Turn = JSON.parse(line.value);
  return turn;
}

function say<Message>(message: Message): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
