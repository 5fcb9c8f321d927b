// A measured process of ours: opens the layer and runs rounds of steps as the bench asks for them on stdin.
import { createExecutor } from '@weft/backend-tensorflow';
import { runRounds, send } from '../candidate-loop.js';
import { loadWeights } from '../fixture.js';
import { fingerprint } from './fingerprint.js';
import {
  DIFFERENTIATED,
  type Fingerprint,
  type LayerReady,
  type LayerSpec,
  layerProgram,
  type Result,
} from './layer.js';

const { size, precision, threads, fixture }: LayerSpec = JSON.parse(process.argv[2] ?? '{}');
const program = layerProgram(size);
const executor = createExecutor(program, { kind: 'graph', precision, threads });
await loadWeights(executor, program, fixture);

await step();
send<LayerReady>({ engine: executor.description, results: await results() });
await runRounds(step);
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
