import { viewsPerPicture } from './data-config.js';
import { encoderMeshFields, encoderRules } from './encoder-tasks.js';
import { HELD_OUT_EXAMPLES } from './evaluation-tasks.js';
import { divides, type Problem, problem } from './problems.js';
import {
  AUTOMATIC_MESH,
  BYTE_VOCABULARY_SIZE,
  type DecoderConfig,
  type MeshConfig,
  meshSize,
  type RunConfig,
} from './run-config.js';
import { isEncoderTask } from './task-config.js';

/** What must hold between fields, each rule with the sentence that refuses its breach. */
export function brokenRules(config: RunConfig): Problem[] {
  return [
    ...runRules(config),
    ...evaluationRules(config),
    ...imageRules(config),
    ...visionRules(config),
    ...encoderRules(config),
    ...(isEncoderTask(config.task) ? [] : [...connectorRules(config), ...decoderRules(config), ...moeRules(config)]),
    ...expertWorkerRules(config),
    ...meshRules(config),
    ...collectivesRules(config),
  ];
}

function* runRules(config: RunConfig) {
  const { steps, workers, minWorkers, globalBatchSize, microbatchSize, data, optimizer, precision, engine } = config;
  if (workers > globalBatchSize) {
    yield atMost('workers', workers, 'globalBatchSize', globalBatchSize, 'every worker needs a sequence of each step');
  }
  if (minWorkers !== null && minWorkers > workers) yield atMost('minWorkers', minWorkers, 'workers', workers);
  if (microbatchSize > globalBatchSize) {
    yield atMost('microbatchSize', microbatchSize, 'globalBatchSize', globalBatchSize);
  }
  const { skippedBatches } = data;
  const wrong = skippedBatches.findIndex(
    ({ first, end }, at) => first >= end || first <= (skippedBatches[at - 1]?.end ?? 0),
  );
  if (wrong >= 0) {
    const { first, end } = skippedBatches[wrong]!;
    const sentence = `data.skippedBatches has ${first} to ${end}, but must hold ranges that rise and do not touch`;
    yield problem(['data.skippedBatches'], sentence);
  }
  yield* mixtureChangeRules(data);
  if (optimizer.warmupSteps >= steps) {
    yield problem(
      ['optimizer.warmupSteps', 'steps'],
      `optimizer.warmupSteps is ${optimizer.warmupSteps}, but must be below steps (${steps})`,
    );
  }
  if (Object.values(data.weights).every((weight) => weight === 0)) {
    const fields = Object.keys(data.weights).map((source) => `data.weights.${source}`);
    yield problem(fields, 'data.weights are all 0, but at least one source must have a weight');
  }
  if (precision === 'bf16' && engine.backend === 'javascript') {
    yield problem(
      ['precision', 'engine.backend'],
      'precision is bf16, but engine.backend javascript computes in fp32 only',
    );
  }
  if (config.activationCheckpointing !== 'none' && engine.backend === 'javascript') {
    yield problem(
      ['activationCheckpointing', 'engine.backend'],
      `activationCheckpointing is ${config.activationCheckpointing}, but engine.backend javascript keeps every activation: leave it at none`,
    );
  }
}

function* mixtureChangeRules({ sources, indexVersion, mixtureChanges }: RunConfig['data']) {
  const names = Object.keys(sources);
  let before = { fromBatch: 1, indexVersion: indexVersion ?? 1 };
  for (const [at, change] of mixtureChanges.entries()) {
    const field = `data.mixtureChanges.${at}`;
    const given = Object.keys(change.weights);
    const wrong = names.find((name) => !given.includes(name)) ?? given.find((name) => !names.includes(name));
    if (wrong !== undefined)
      yield problem([field], `${field}.weights must hold one weight for each of ${names.join(', ')}: see ${wrong}`);
    else if (Object.values(change.weights).every((weight) => weight === 0))
      yield problem([field], `${field}.weights are all 0, but at least one source must have a weight`);
    if (at > 0 && change.fromBatch <= before.fromBatch)
      yield problem([field], `${field}.fromBatch is ${change.fromBatch}, but must be above ${before.fromBatch}`);
    const version = change.indexVersion ?? before.indexVersion;
    if (version < before.indexVersion)
      yield problem([field], `${field}.indexVersion is ${version}, but must not fall below ${before.indexVersion}`);
    before = { fromBatch: change.fromBatch, indexVersion: version };
  }
}

/** Names of tasks are parts of names of metrics, where these mean something else. */
const RESERVED_TASKS = ['average', 'textAverage'];

function* evaluationRules(config: RunConfig) {
  const { evaluation } = config;
  yield* taskRules(config);
  if (evaluation.everySteps > 0 && evaluation.sequencesPerSource === 0) {
    yield problem(
      ['evaluation.everySteps', 'evaluation.sequencesPerSource'],
      `evaluation.everySteps is ${evaluation.everySteps}, but evaluation.sequencesPerSource is 0: nothing is held out`,
    );
  }
}

function* imageRules({ data: { images, imagesPerSequence, sources, weights }, model }: RunConfig) {
  const { tokensPerImage } = model.connector;
  const views = viewsPerPicture(images);
  const hasPictures = Object.entries(sources).some(([name, kind]) => kind !== 'text' && weights[name] !== 0);
  if (views > imagesPerSequence && hasPictures) {
    yield problem(
      ['data.images.subImages', 'data.imagesPerSequence'],
      `data.images.subImages cuts a picture into ${views} images, but data.imagesPerSequence is ${imagesPerSequence}`,
    );
  }
  if (views > 1 && hasPictures && views * tokensPerImage >= model.sequenceLength) {
    yield problem(
      ['data.images.subImages', 'model.connector.tokensPerImage', 'model.sequenceLength'],
      `data.images.subImages makes ${views} images of a picture, ${views * tokensPerImage} positions, but these must be below model.sequenceLength (${model.sequenceLength})`,
    );
  }
  if (images.fit === 'crop' && images.interpolation !== 'bicubic') {
    yield problem(
      ['data.images.fit', 'data.images.interpolation'],
      `data.images.fit is crop, but data.images.interpolation is ${images.interpolation}: crop goes with bicubic only`,
    );
  }
}

function* taskRules({ evaluation, expertWorkers }: RunConfig) {
  const tasks = Object.entries(evaluation.tasks);
  if (evaluation.tasksEverySteps > 0 && tasks.length === 0) {
    yield problem(
      ['evaluation.tasksEverySteps', 'evaluation.tasks'],
      `evaluation.tasksEverySteps is ${evaluation.tasksEverySteps}, but evaluation.tasks is empty: there is nothing to score`,
    );
  }
  if (tasks.length > 0 && expertWorkers > 0) {
    yield problem(
      ['evaluation.tasks', 'expertWorkers'],
      `evaluation.tasks has ${tasks.length} tasks, but expertWorkers is ${expertWorkers}: a rank without its experts cannot generate, so set expertWorkers to 0, or use weft eval`,
    );
  }
  const heldOut = tasks.filter(([, { examples }]) => examples === HELD_OUT_EXAMPLES).map(([name]) => name);
  if (heldOut.length > 0 && evaluation.sequencesPerSource === 0) {
    yield problem(
      ['evaluation.tasks', 'evaluation.sequencesPerSource'],
      `evaluation.tasks takes the examples of ${heldOut.join(', ')} from held-out sequences, but evaluation.sequencesPerSource is 0: nothing is held out`,
    );
  }
  for (const [name, task] of tasks) {
    const field = `evaluation.tasks.${name}`;
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(name) || RESERVED_TASKS.includes(name)) {
      const sentence = `${JSON.stringify(field)} is no task: its name must hold at most 64 letters, digits, - and _, and be neither ${RESERVED_TASKS.join(' nor ')}`;
      yield problem([field], sentence);
    }
    if (!('images' in task)) continue;
    if (task.examples !== HELD_OUT_EXAMPLES && task.images === null) {
      yield problem(
        [`${field}.images`, `${field}.examples`],
        `${field}.images is null, but ${task.examples} needs a folder or tar archive of images`,
      );
    }
    if (!task.prompt.includes('{IMAGE}') || (task.kind === 'question' && !task.prompt.includes('{QUESTION}'))) {
      const needed = task.kind === 'question' ? '{IMAGE} and {QUESTION}' : '{IMAGE}';
      yield problem(
        [`${field}.prompt`],
        `${field}.prompt is ${JSON.stringify(task.prompt)}, but must contain ${needed}`,
      );
    }
  }
}

function* visionRules({ model: { vision } }: RunConfig) {
  yield* divides('model.vision.heads', vision.heads, 'model.vision.width', vision.width);
  yield* divides('model.vision.patchSize', vision.patchSize, 'model.vision.imageSize', vision.imageSize);
  const { featureLayer, depth } = vision;
  if (featureLayer !== null && featureLayer > depth)
    yield atMost('model.vision.featureLayer', featureLayer, 'model.vision.depth', depth);
}

function* connectorRules({ model: { vision, connector, sequenceLength } }: RunConfig) {
  const field = 'model.connector.tokensPerImage';
  const { tokensPerImage } = connector;
  const side = Math.sqrt(tokensPerImage);
  if (tokensPerImage >= sequenceLength) {
    yield problem(
      [field, 'model.sequenceLength'],
      `${field} is ${tokensPerImage}, but must be below model.sequenceLength (${sequenceLength})`,
    );
  }
  // Queries are in no order, and as many as one likes.
  if (connector.kind === 'attentionPool') return;
  if (!Number.isInteger(side)) {
    const near = [Math.floor(side), Math.ceil(side)].map((root) => root * root).filter((square) => square > 0);
    yield problem([field], `${field} is ${tokensPerImage}, but must be a perfect square such as ${near.join(' or ')}`);
    return;
  }
  if (vision.imageSize % vision.patchSize !== 0) return;
  const grid = vision.imageSize / vision.patchSize;
  const together = [field, 'model.vision.imageSize', 'model.vision.patchSize'];
  const patches = `the ${grid}×${grid} patches of model.vision`;
  if (side > grid) {
    yield problem(together, `${field} is ${tokensPerImage} (${side}×${side}), but must be at most ${patches}`);
  }
}

function* decoderRules({ model: { decoder }, data }: RunConfig) {
  const { heads, keyValueHeads, width, headWidth, ropeScaling, vocabularySize } = decoder;
  yield* divides('model.decoder.keyValueHeads', keyValueHeads, 'model.decoder.heads', heads);
  if (!Number.isInteger(headWidth)) {
    yield* divides('model.decoder.heads', heads, 'model.decoder.width', width);
  } else if (headWidth % 2 !== 0) {
    const isGiven = headWidth * heads !== width;
    const cause = isGiven
      ? `model.decoder.headWidth is ${headWidth}`
      : `model.decoder.heads is ${heads}, which makes heads of width ${headWidth}`;
    const fields = isGiven ? ['model.decoder.headWidth'] : ['model.decoder.heads', 'model.decoder.width'];
    yield problem(fields, `${cause}, but rotary positions need an even width`);
  }
  if (ropeScaling !== null && ropeScaling.lowFrequencyFactor >= ropeScaling.highFrequencyFactor) {
    const low = 'model.decoder.ropeScaling.lowFrequencyFactor';
    const high = 'model.decoder.ropeScaling.highFrequencyFactor';
    const { lowFrequencyFactor, highFrequencyFactor } = ropeScaling;
    yield problem([low, high], `${low} is ${lowFrequencyFactor}, but must be below ${high} (${highFrequencyFactor})`);
  }
  if (data.tokenizer === 'bytes' && vocabularySize < BYTE_VOCABULARY_SIZE) {
    yield problem(
      ['model.decoder.vocabularySize', 'data.tokenizer'],
      `model.decoder.vocabularySize is ${vocabularySize}, but must be at least ${BYTE_VOCABULARY_SIZE} for the byte tokenizer`,
    );
  }
}

function* moeRules({ microbatchSize, model: { sequenceLength, decoder } }: RunConfig) {
  const { moe, depth } = decoder;
  if (moe === null) return;
  if (moe.everyLayers > depth) {
    const why = 'otherwise no layer has experts';
    yield atMost('model.decoder.moe.everyLayers', moe.everyLayers, 'model.decoder.depth', depth, why);
  }
  const tokens = microbatchSize * sequenceLength;
  if (moe.groupSize > 0 && tokens % moe.groupSize !== 0) {
    yield problem(
      ['model.decoder.moe.groupSize', 'microbatchSize', 'model.sequenceLength'],
      `model.decoder.moe.groupSize is ${moe.groupSize}, but must divide the ${tokens} tokens of a microbatch (${microbatchSize} × ${sequenceLength})`,
    );
  }
}

function* expertWorkerRules({ expertWorkers, expertCopies, engine, model: { decoder } }: RunConfig) {
  if (expertCopies === true && expertWorkers < 2) {
    const sentence = `expertCopies is true, but expertWorkers is ${expertWorkers}: a copy needs a second expert worker`;
    yield problem(['expertCopies', 'expertWorkers'], sentence);
  }
  if (expertWorkers === 0) return;
  if (decoder.moe === null) {
    const sentence = `expertWorkers is ${expertWorkers}, but model.decoder.moe is null: there are no experts to hold`;
    yield problem(['expertWorkers', 'model.decoder.moe'], sentence);
  } else if (expertWorkers > decoder.moe.experts) {
    const why = 'every expert worker holds at least one';
    yield atMost('expertWorkers', expertWorkers, 'model.decoder.moe.experts', decoder.moe.experts, why);
  }
  if (engine.backend === 'javascript') {
    const sentence = 'expertWorkers is above 0, but engine.backend javascript cannot wait for experts in mid-layer';
    yield problem(['expertWorkers', 'engine.backend'], sentence);
  }
}

function* collectivesRules({ engine: { backend, collectives } }: RunConfig) {
  if (collectives !== 'nccl' || (backend !== 'tensorflow' && backend !== 'javascript')) return;
  yield problem(
    ['engine.collectives', 'engine.backend'],
    `engine.collectives is nccl, but engine.backend ${backend} keeps gradients in the memory of the host: set engine.collectives to auto`,
  );
}

/** Whether the rules let a worker of this run cut its model over such a mesh. */
export function allowsMesh(config: RunConfig, mesh: MeshConfig): boolean {
  return [...meshRules({ ...config, engine: { ...config.engine, mesh } })].length === 0;
}

/** That the product is the number of devices is checked by the worker that has them. */
function* meshRules({ engine, expertWorkers, microbatchSize, task, model: { vision, decoder } }: RunConfig) {
  const { mesh, backend } = engine;
  if (mesh === AUTOMATIC_MESH || meshSize(mesh) === 1) return;
  if (backend === 'tensorflow' || backend === 'javascript') {
    yield problem(
      ['engine.mesh', 'engine.backend'],
      `engine.mesh has ${meshSize(mesh)} devices, but engine.backend ${backend} computes on one: leave engine.mesh out, or set engine.backend to auto`,
    );
  }
  for (const [field, value] of Object.entries({
    'model.vision.heads': vision.heads,
    'model.vision.feedForwardWidth': vision.feedForwardWidth,
    ...(isEncoderTask(task) ? encoderMeshFields(task) : decoderMeshFields(decoder)),
  })) {
    yield* divides('engine.mesh.tensor', mesh.tensor, field, value);
  }
  if (mesh.expert > 1 && decoder.moe === null) {
    const sentence = `engine.mesh.expert is ${mesh.expert}, but model.decoder.moe is null: set it to 1, there are no experts to cut`;
    yield problem(['engine.mesh.expert', 'model.decoder.moe'], sentence);
  } else if (mesh.expert > 1 && decoder.moe !== null) {
    yield* divides('engine.mesh.expert', mesh.expert, 'model.decoder.moe.experts', decoder.moe.experts);
  }
  if (mesh.expert > 1 && expertWorkers > 0) {
    const sentence = `engine.mesh.expert is ${mesh.expert}, but with expertWorkers ${expertWorkers} the experts are in other processes: set one of them to its default`;
    yield problem(['engine.mesh.expert', 'expertWorkers'], sentence);
  }
  const batchDevices = mesh.fsdp * mesh.expert;
  if (microbatchSize % batchDevices !== 0) {
    yield problem(
      ['microbatchSize', 'engine.mesh'],
      `microbatchSize is ${microbatchSize}, but must be a multiple of ${batchDevices}, the devices that engine.mesh cuts the batch over (fsdp × expert)`,
    );
  }
}

/** What a mesh cuts over `tensor`, by field. */
const decoderMeshFields = (decoder: DecoderConfig) => ({
  'model.decoder.heads': decoder.heads,
  'model.decoder.keyValueHeads': decoder.keyValueHeads,
  'model.decoder.feedForwardWidth': decoder.feedForwardWidth,
  'model.decoder.vocabularySize': decoder.vocabularySize,
});

function atMost(field: string, value: number, limitField: string, limit: number, why?: string): Problem {
  const sentence = `${field} is ${value}, but must be at most ${limitField} (${limit})`;
  return problem([field, limitField], why === undefined ? sentence : `${sentence}: ${why}`);
}
