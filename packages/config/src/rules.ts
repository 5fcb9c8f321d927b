import type { FieldPath } from './fields.js';
import type { Problem } from './problems.js';
import { AUTOMATIC_MESH, BYTE_VOCABULARY_SIZE, type MeshConfig, meshSize, type RunConfig } from './run-config.js';

/** What must hold between fields, each rule with the sentence that refuses its breach. */
export function brokenRules(config: RunConfig): Problem[] {
  return [
    ...runRules(config),
    ...evaluationRules(config),
    ...visionRules(config),
    ...connectorRules(config),
    ...decoderRules(config),
    ...moeRules(config),
    ...expertWorkerRules(config),
    ...meshRules(config),
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

function* evaluationRules({ evaluation }: RunConfig) {
  if (evaluation.everySteps > 0 && evaluation.sequencesPerSource === 0) {
    yield problem(
      ['evaluation.everySteps', 'evaluation.sequencesPerSource'],
      `evaluation.everySteps is ${evaluation.everySteps}, but evaluation.sequencesPerSource is 0: nothing is held out`,
    );
  }
}

function* visionRules({ model: { vision } }: RunConfig) {
  yield* divides('model.vision.heads', vision.heads, 'model.vision.width', vision.width);
  yield* divides('model.vision.patchSize', vision.patchSize, 'model.vision.imageSize', vision.imageSize);
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
  if (!Number.isInteger(side)) {
    const near = [Math.floor(side), Math.ceil(side)].map((root) => root * root).filter((square) => square > 0);
    yield problem([field], `${field} is ${tokensPerImage}, but must be a perfect square such as ${near.join(' or ')}`);
    return;
  }
  if (vision.imageSize % vision.patchSize !== 0) return;
  const grid = vision.imageSize / vision.patchSize;
  const together = [field, 'model.vision.imageSize', 'model.vision.patchSize', 'model.connector.kind'];
  const patches = `the ${grid}×${grid} patches of model.vision`;
  if (side > grid) {
    yield problem(together, `${field} is ${tokensPerImage} (${side}×${side}), but must be at most ${patches}`);
  } else if (connector.kind === 'averagePool' && grid % side !== 0) {
    const allowed = wholeDivisors(grid).map((divisor) => divisor * divisor);
    yield problem(
      together,
      `${field} is ${tokensPerImage} (${side}×${side}), but averagePool must divide ${patches} evenly: ${allowed.join(', ')}`,
    );
  }
}

function* decoderRules({ model: { decoder }, data }: RunConfig) {
  const { heads, keyValueHeads, width, vocabularySize } = decoder;
  yield* divides('model.decoder.heads', heads, 'model.decoder.width', width);
  yield* divides('model.decoder.keyValueHeads', keyValueHeads, 'model.decoder.heads', heads);
  if (width % heads === 0 && (width / heads) % 2 !== 0) {
    yield problem(
      ['model.decoder.heads', 'model.decoder.width'],
      `model.decoder.heads is ${heads}, which makes heads of width ${width / heads}, but rotary positions need an even width`,
    );
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

function* expertWorkerRules({ expertWorkers, engine, model: { decoder } }: RunConfig) {
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

/** Whether the rules let a worker of this run cut its model over such a mesh. */
export function allowsMesh(config: RunConfig, mesh: MeshConfig): boolean {
  return [...meshRules({ ...config, engine: { ...config.engine, mesh } })].length === 0;
}

/** That the product is the number of devices is checked by the worker that has them. */
function* meshRules({ engine, expertWorkers, microbatchSize, model: { vision, decoder } }: RunConfig) {
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
    'model.decoder.heads': decoder.heads,
    'model.decoder.keyValueHeads': decoder.keyValueHeads,
    'model.decoder.feedForwardWidth': decoder.feedForwardWidth,
    'model.decoder.vocabularySize': decoder.vocabularySize,
  })) {
    yield* divides('engine.mesh.tensor', mesh.tensor, field, value);
  }
  if (mesh.expert > 1 && decoder.moe === null) {
    const sentence = `engine.mesh.expert is ${mesh.expert}, but model.decoder.moe is null: set it to 1, there are no experts to cut`;
    yield problem(['engine.mesh.expert', 'model.decoder.moe'], sentence);
  } else if (mesh.expert > 1 && decoder.moe !== null) {
    yield* divides('engine.mesh.expert', mesh.expert, 'model.decoder.moe.experts', decoder.moe.experts);
  }
  if (expertWorkers > 0) {
    const sentence = `expertWorkers is ${expertWorkers}, but a worker with engine.mesh holds the experts itself: set expertWorkers to 0`;
    yield problem(['expertWorkers', 'engine.mesh'], sentence);
  }
  const batchDevices = mesh.fsdp * mesh.expert;
  if (microbatchSize % batchDevices !== 0) {
    yield problem(
      ['microbatchSize', 'engine.mesh'],
      `microbatchSize is ${microbatchSize}, but must be a multiple of ${batchDevices}, the devices that engine.mesh cuts the batch over (fsdp × expert)`,
    );
  }
}

function problem(fields: readonly string[], sentence: string): Problem {
  return { fields: fields.map((field): FieldPath => field.split('.')), sentence };
}

function atMost(field: string, value: number, limitField: string, limit: number, why?: string): Problem {
  const sentence = `${field} is ${value}, but must be at most ${limitField} (${limit})`;
  return problem([field, limitField], why === undefined ? sentence : `${sentence}: ${why}`);
}

function* divides(field: string, value: number, wholeField: string, whole: number) {
  if (whole % value !== 0) {
    yield problem([field, wholeField], `${field} is ${value}, but must divide ${wholeField} (${whole})`);
  }
}

const wholeDivisors = (whole: number) =>
  Array.from({ length: whole }, (_, index) => index + 1).filter((divisor) => whole % divisor === 0);
