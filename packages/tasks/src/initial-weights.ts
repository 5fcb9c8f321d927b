import { type Manifest, readManifest } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import { type InitialWeights, initialCheckpoint, MODEL_PARTS, type RunConfig } from '@weft/config';
import { canResizePositions, type StoredTensor } from '@weft/model';
import { taskOf } from './task-of.js';
import type { TaskParameter } from './task-parameter.js';

/** What a run begins with from one checkpoint. */
export interface InitialSource {
  readonly directory: string;
  readonly manifest: Manifest;
  /** Parameters, and the tensors of the checkpoint that they are put together from. */
  readonly parameters: readonly InitialParameter[];
  /** Tables of learned positions for other grids, which are to be resized. */
  readonly resized: readonly ResizedPositions[];
}

/** A parameter that tensors of a checkpoint make up, whole or but for what begins from the seed. */
export interface InitialParameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly parts: readonly StoredTensor[];
}

/** See `resizePositions`. */
export interface ResizedPositions {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of the checkpoint's table, which has the same name. */
  readonly storedShape: readonly number[];
}

/**
 * Finds the tensors of checkpoints that parameters begin from. Reads manifests, and no weights.
 *
 * @param initFrom one checkpoint, or one for each part of the model: the first word of a parameter's name
 * @throws WeftError `not_found` or `corrupt_data` from a checkpoint, `invalid_argument` naming every tensor that one lacks
 *         or has in another shape
 */
export async function initialSources(
  parameters: readonly TaskParameter[],
  initFrom: InitialWeights,
): Promise<readonly InitialSource[]> {
  const byDirectory = new Map<string, TaskParameter[]>();
  for (const parameter of parameters) {
    const part = MODEL_PARTS.find((each) => parameter.name.startsWith(`${each}/`));
    const directory = part === undefined ? initFrom : initialCheckpoint(initFrom, part);
    if (typeof directory !== 'string') continue;
    byDirectory.set(directory, [...(byDirectory.get(directory) ?? []), parameter]);
  }
  return Promise.all([...byDirectory].map(([directory, of]) => sourceOf(directory, of)));
}

async function sourceOf(directory: string, parameters: readonly TaskParameter[]): Promise<InitialSource> {
  const manifest = await readManifest(directory);
  const shapes = new Map(manifest.tensors.map(({ name, shape }) => [name, shape]));
  const missing: string[] = [];
  const wrong: string[] = [];
  const found: InitialParameter[] = [];
  const resized: ResizedPositions[] = [];
  for (const { name, shape, stored } of parameters) {
    const parts = stored.flatMap((part) => {
      const source = part.initialSources.find((each) => shapes.has(each));
      const there = source === undefined ? undefined : shapes.get(source);
      if (source === undefined || there === undefined) {
        if (!part.maySeed) missing.push(part.name);
        return [];
      }
      if (there.join() === part.shape.join()) return [{ ...part, name: source }];
      if (part.isPositions && canResizePositions(there, part.shape)) resized.push({ name, shape, storedShape: there });
      else wrong.push(`${source} is [${there.join(', ')}] there and [${part.shape.join(', ')}] in the model`);
      return [];
    });
    if (parts.length > 0) found.push({ name, shape, parts });
  }
  const problems = [...(missing.length === 0 ? [] : [`it lacks ${missing.join(', ')}`]), ...wrong];
  if (problems.length > 0) throw unfit(directory, problems.join('; '));
  return { directory, manifest, parameters: found, resized };
}

/**
 * Checks before a run is launched that its workers will be able to begin from `initFrom`, and that nothing of the
 * checkpoints is silently left out.
 *
 * @returns what of the checkpoints is not used, a sentence for each: parts that the run begins from elsewhere, or does not
 *          have, such as the text tower beside an encoder
 * @throws WeftError as `initialSources`; `invalid_argument` for tensors that the model has no place for
 */
export async function checkInitialWeights(config: RunConfig): Promise<readonly string[]> {
  const { initFrom, model } = config;
  if (initFrom === null) return [];
  const notes: string[] = [];
  const { parameters } = taskOf({ ...config, expertWorkers: 0 });
  const { vision } = model;
  // Blocks behind the one that the connector reads, and a norm that it does not read through, may be there.
  const mayLack = (name: string) =>
    (vision.featureLayer !== null && Number(/^vision\/layers\/(\d+)\//.exec(name)?.[1] ?? -1) >= vision.featureLayer) ||
    (!vision.outputNorm && name.startsWith('vision/norm/'));
  for (const source of await initialSources(parameters, initFrom)) {
    const used = new Set([
      ...source.parameters.flatMap(({ parts }) => parts.map(({ name }) => name)),
      ...source.resized.map(({ name }) => name),
    ]);
    const parts = MODEL_PARTS.filter((part) => initialCheckpoint(initFrom, part) === source.directory);
    const unused = source.manifest.tensors
      .map(({ name }) => name)
      .filter((name) => parts.some((part) => name.startsWith(`${part}/`)) && !used.has(name) && !mayLack(name));
    if (unused.length > 0)
      throw unfit(source.directory, `it holds ${unused.join(', ')}, which the model does not have`);
    const left = new Set(source.manifest.tensors.filter(({ name }) => !used.has(name)).map(({ name }) => partOf(name)));
    for (const other of ['adam', ...parts]) left.delete(other);
    if (left.size > 0) notes.push(`of checkpoint ${source.directory} the run does not use ${[...left].join(', ')}`);
  }
  return notes;
}

/** The first word of a tensor's name. */
const partOf = (name: string) => name.split('/', 1)[0] ?? name;

function unfit(directory: string, difference: string): WeftError {
  return new WeftError('invalid_argument', `the run cannot begin from checkpoint ${directory}: ${difference}`, {
    hint: 'name a checkpoint of a model with the same widths and layers',
  });
}
