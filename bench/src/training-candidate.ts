import { DataPlane, inMemoryRing, type ProcessGroup } from '@weft/collectives';
import { ONE_DEVICE, type RunConfig } from '@weft/config';
import { batchSpecs } from '@weft/model';
import { recipe } from '@weft/recipes';
import { type BatchVariant, type Microbatch, type RankBatch, SourceLoss, type TrainTask, taskOf } from '@weft/tasks';
import { packImages } from '@weft/testing';
import { trainProgram, trainStep } from '@weft/training';
import { type Candidate, type CandidateParts, openEngine } from './candidate.js';
import type { CandidateSpec } from './candidate-spec.js';
import { loadBatch, loadWeights } from './fixture.js';
import { wholeModel } from './models.js';
import { decoderTask } from './one-phase-candidate.js';

const JOIN_TIMEOUT_MS = 60_000;

/** A model in the trainer's own step: gradients, ring all-reduce, measure, vote, apply. */
export async function openTraining(parts: CandidateParts): Promise<Candidate> {
  const { spec } = parts;
  const config = runConfig(spec);
  const { group, close } = await joinRing(parts);
  const task = benchTask(spec);
  const program = trainProgram(task, config, { variants: variantsOf(spec) });
  const engine = openEngine(parts, program);
  const { executor } = engine;
  await loadWeights(executor, program, spec.fixture);
  const batch = packed(spec, await loadBatch(spec.fixture, spec.rank));
  const slice: RankBatch = { microbatches: [batch], digest: '' };
  const loader = { load: async () => slice };
  // The coordinator's part, deciding whether a step is applied, has no share in the measured work.
  const coordinator = { vote: async () => ({ apply: true }), report: () => {}, checkpointPart: () => {} };
  let step = 0;
  return {
    engine,
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

/** The shape of a batch that has fewer images than slots. */
function variantsOf({ model }: CandidateSpec): BatchVariant[] {
  const { images, decoder, sequenceLength, batchSize } = model;
  if (images === null || images.present === null) return [];
  const { computed } = images.present;
  const batch = batchSpecs(wholeModel(images, decoder, sequenceLength), { sequences: batchSize, images: computed });
  return [{ name: `${computed}-images`, batch: { ...batch, ...NO_SOURCES.batchSpecs(batchSize) } }];
}

/** Sequences of a fixture have no source. */
const NO_SOURCES = new SourceLoss([]);

/** The batch as the data loader would give it: a fixture has a slot for every image that there might be. */
function packed({ model }: CandidateSpec, batch: Microbatch): Microbatch {
  const { images, batchSize } = model;
  if (images === null) return batch;
  const sources = NO_SOURCES.arrays([], batchSize);
  if (images.present === null) return { ...batch, ...sources };
  const { images_NHWC, imageTokenIndex_BT, ...text } = batch;
  if (!(images_NHWC instanceof Float32Array && imageTokenIndex_BT instanceof Int32Array)) return batch;
  const imageCount = batchSize * images.imagesPerSequence;
  const { tokensPerImage } = images.connector;
  const arrays = { images_NHWC, imageTokenIndex_BT };
  return { ...text, ...sources, ...packImages(arrays, { imageCount, tokensPerImage, room: images.present.computed }) };
}

/** What a candidate trains. */
export function benchTask(spec: CandidateSpec): TrainTask {
  return spec.model.images === null ? decoderTask(spec.model) : taskOf(runConfig(spec));
}

/** What the step reads of a run. A decoder alone has none of the recipe's images, which the step does not read. */
export function runConfig({ model, optimizer, precision, threads, worldSize }: CandidateSpec): RunConfig {
  const tiny = recipe('mm1Tiny');
  const images = model.images ?? { ...tiny.model, imagesPerSequence: tiny.data.imagesPerSequence, present: null };
  return {
    ...tiny,
    model: wholeModel(images, model.decoder, model.sequenceLength),
    data: { ...tiny.data, imagesPerSequence: images.imagesPerSequence },
    optimizer,
    precision,
    workers: worldSize,
    microbatchSize: model.batchSize,
    globalBatchSize: model.batchSize * worldSize,
    engine: { backend: 'tensorflow', threadsPerWorker: threads, mesh: ONE_DEVICE, collectives: 'ring' },
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
