import { createExecutor } from '@weft/backend-tensorflow';
import { DataPlane, inMemoryRing, type ProcessGroup } from '@weft/collectives';
import { ONE_DEVICE, type RunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { type RankBatch, taskOf } from '@weft/tasks';
import { trainProgram, trainStep } from '@weft/training';
import { type Candidate, type CandidateParts, executorOptions } from './candidate.js';
import type { CandidateSpec } from './candidate-spec.js';
import { decoderTask } from './decoder-candidate.js';
import { loadBatch, loadWeights } from './fixture.js';
import { wholeModel } from './models.js';

const JOIN_TIMEOUT_MS = 60_000;

/** A model in the trainer's own step: gradients, ring all-reduce, measure, vote, apply. */
export async function openTraining(parts: CandidateParts): Promise<Candidate> {
  const { spec } = parts;
  const config = runConfig(spec);
  const { group, close } = await joinRing(parts);
  const task = spec.model.images === null ? decoderTask(spec.model) : taskOf(config);
  const program = trainProgram(task, config);
  const executor = createExecutor(program, executorOptions(parts));
  await loadWeights(executor, program, spec.fixture);
  const batch = await loadBatch(spec.fixture, spec.rank);
  const slice: RankBatch = { microbatches: [batch], digest: '' };
  const loader = { load: async () => slice };
  // The coordinator's part, deciding whether a step is applied, has no share in the measured work.
  const coordinator = { vote: async () => ({ apply: true }), report: () => {}, checkpointPart: () => {} };
  let step = 0;
  return {
    engine: executor.description,
    step: async () => {
      step += 1;
      const { vote } = await trainStep({ config, task, program, executor, loader, group, coordinator }, step);
      return vote.loss;
    },
    close: async () => {
      await close();
      await executor.dispose();
    },
  };
}

/** What the step reads of a run. A decoder alone has none of the recipe's images, which the step does not read. */
function runConfig({ model, optimizer, precision, threads, worldSize }: CandidateSpec): RunConfig {
  const tiny = recipe('mm1Tiny');
  const images = model.images ?? { ...tiny.model, imagesPerSequence: tiny.data.imagesPerSequence };
  return {
    ...tiny,
    model: wholeModel(images, model.decoder, model.sequenceLength),
    data: { ...tiny.data, imagesPerSequence: images.imagesPerSequence },
    optimizer,
    precision,
    workers: worldSize,
    microbatchSize: model.batchSize,
    globalBatchSize: model.batchSize * worldSize,
    engine: { backend: 'tensorflow', threadsPerWorker: threads, mesh: ONE_DEVICE },
  };
}

/** A ring over TCP, also between processes of one machine; one process alone needs none. */
async function joinRing({
  spec,
  exchangeAddresses,
}: CandidateParts): Promise<{ group: ProcessGroup; close(): Promise<void> }> {
  const { rank, worldSize } = spec;
  if (worldSize === 1) {
    await exchangeAddresses(undefined);
    const [group] = inMemoryRing(1);
    return { group: group as ProcessGroup, close: async () => {} };
  }
  const plane = await DataPlane.listen();
  const met = await exchangeAddresses(plane.address);
  const addresses = met.filter((address) => address !== undefined);
  const membership = { runId: 'bench', generation: 1, rank, addresses, token: 'bench' };
  const group = await plane.joinRing({ ...membership, timeoutMs: JOIN_TIMEOUT_MS });
  return { group, close: () => plane.close() };
}
