import { resolve } from 'node:path';
import { didYouMean, mapSources, refuse, WeftError } from '@weft/common';
import {
  automaticLaw,
  type ConfigLayer,
  fileLayer,
  type InitialWeights,
  initialCheckpoint,
  MODEL_PARTS,
  type ModelPart,
  mapTaskPaths,
  mergeLayers,
  type RunConfig,
  resolveLayers,
  settingLayers,
} from '@weft/config';
import { Home, isRemote } from '@weft/files';
import { recipeInput, recipes } from '@weft/recipes';
import { parseAddress } from '@weft/remote';

/** What the command line changes in a run. */
export interface RunChoices {
  /** `--set a.b=c`, in order; the last wins. */
  readonly set?: readonly string[];
  /** `--steps` and `--workers` are short for the two settings people change most. */
  readonly steps?: number;
  readonly workers?: number;
  readonly expertWorkers?: number;
  /** `--init-from`: a checkpoint, or a run that has one; for a part of the model with its name and `=` in front. */
  readonly initFrom?: readonly string[];
  /** The home that `.weft/…` means, for the file of a fit; default: `$WEFT_HOME`, or `.weft`. */
  readonly home?: string;
}

/**
 * Resolves a recipe's name or a run file, with the settings of the command line on top, to a whole configuration. A run
 * file whose `recipe` names a recipe starts from that one.
 *
 * @throws WeftError `not_found` for an unknown recipe or file, `invalid_argument` for an invalid configuration.
 */
export async function resolveRun(nameOrFile: string, choices: RunChoices = {}): Promise<RunConfig> {
  const layers = [
    ...(await baseLayers(nameOrFile)),
    ...shortcutLayer('steps', choices.steps),
    ...shortcutLayer('workers', choices.workers),
    ...shortcutLayer('expertWorkers', choices.expertWorkers),
    ...(await initLayer(choices.initFrom)),
    ...settingLayers(choices.set ?? []),
  ];
  const law = automaticLaw(mergeLayers(layers));
  if (law === undefined) return resolveLayers(layers);
  const { automaticRate } = await import('./learning-rate/laws.js');
  return resolveLayers(layers, await automaticRate(law, new Home(choices.home, process.env).directory));
}

/** A path is for the whole model, `vision=path` for a part of it. */
async function initLayer(given: readonly string[] = []): Promise<ConfigLayer[]> {
  if (given.length === 0) return [];
  const where = () => '--init-from';
  const parts = given.map((text) => PART_OF_MODEL.exec(text));
  const whole = given.filter((_, i) => parts[i] === null);
  if (whole.length > 0 && given.length > 1)
    throw new WeftError('invalid_argument', `--init-from takes one checkpoint, or part=checkpoint for each part`, {
      hint: `the parts are ${MODEL_PARTS.join(', ')}`,
    });
  if (whole[0] !== undefined) return [{ value: { initFrom: await findInitialCheckpoint(whole[0]) }, where }];
  const found = await Promise.all(
    parts.map(async (match) => [match?.[1], await findInitialCheckpoint(match?.[2] ?? '')] as const),
  );
  return [{ value: { initFrom: Object.fromEntries(found) }, where }];
}

const PART_OF_MODEL = new RegExp(`^(${MODEL_PARTS.join('|')})=(.+)$`);

/** The layers of a recipe's name, or of a run file and the recipe it starts from. */
export async function baseLayers(nameOrFile: string): Promise<ConfigLayer[]> {
  return isFileName(nameOrFile) ? fileLayers(nameOrFile) : [recipeLayer(nameOrFile)];
}

/** Makes the paths of a configuration independent of the directory they were written in. */
export function withAbsolutePaths(config: RunConfig, home: string): RunConfig {
  const { directory, tokenizer, datasets, index } = config.data;
  refuseUrl('data.tokenizer', tokenizer, 'fetch the tokenizer.json and name the file');
  if (index !== null) refuseUrl('data.index', index, 'name a folder');
  const absolute = (path: string | null) => (path === null ? null : new Home(home).resolvePath(path));
  const folder = (field: string, path: string) =>
    isRemote(path) ? address(field, path) : new Home(home).resolvePath(path);
  const folderOf = (name: string, path: string | null) =>
    path === null ? null : folder(`data.datasets.${name}.directory`, path);
  const { remote } = config.data;
  return {
    ...config,
    evaluation: { ...config.evaluation, tasks: mapTaskPaths(config.evaluation.tasks, absolute) },
    initFrom: absoluteInitFrom(config.initFrom, home),
    data: {
      ...config.data,
      directory: folder('data.directory', directory),
      tokenizer: tokenizer === 'bytes' ? tokenizer : new Home(home).resolvePath(tokenizer),
      index: absolute(index),
      datasets: mapSources(datasets, (dataset, name) => ({ ...dataset, directory: folderOf(name, dataset.directory) })),
      remote: { ...remote, cacheDirectory: absolute(remote.cacheDirectory) },
    },
  };
}

function refuseUrl(field: string, path: string, hint: string): void {
  if (isRemote(path)) refuse('invalid_argument', `${field} is ${path}, a URL`, hint);
}

/** The address of a folder as it is kept: without a slash at its end. */
function address(field: string, path: string): string {
  try {
    parseAddress(path);
  } catch (thrown) {
    const { code, message, hint } = WeftError.from(thrown);
    refuse(code, `${field}: ${message}`, hint);
  }
  return path.replace(/\/+$/, '');
}

function absoluteInitFrom(initFrom: InitialWeights | null, home: string): InitialWeights | null {
  const absolute = (path: string) => new Home(home).resolvePath(path);
  if (initFrom === null || typeof initFrom === 'string') return initFrom === null ? null : absolute(initFrom);
  const partOf = (part: ModelPart) => {
    const path = initialCheckpoint(initFrom, part);
    return path === null ? null : absolute(path);
  };
  return { vision: partOf('vision'), connector: partOf('connector'), decoder: partOf('decoder') };
}

const isFileName = (text: string) => /\.(ya?ml|json)$/i.test(text) || text.includes('/');

function recipeLayer(name: string): ConfigLayer {
  return { value: recipeInput(name), where: () => `recipe ${name}` };
}

async function fileLayers(path: string): Promise<ConfigLayer[]> {
  const file = await fileLayer(path);
  const name = recipeName(file.value);
  if (name === undefined) return [file];
  if (Object.hasOwn(recipes, name)) return [recipeLayer(name), file];
  const meant = didYouMean(name, Object.keys(recipes));
  if (meant === undefined) return [file];
  throw new WeftError('not_found', `${file.where?.(['recipe'])}: there is no recipe ${JSON.stringify(name)}`, {
    hint: `write recipe: ${meant}, or a name that is not so close to one of a recipe`,
  });
}

function recipeName(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('recipe' in value)) return undefined;
  return typeof value.recipe === 'string' ? value.recipe : undefined;
}

function shortcutLayer(field: 'steps' | 'workers' | 'expertWorkers', value: number | undefined): ConfigLayer[] {
  const option = field === 'expertWorkers' ? '--expert-workers' : `--${field}`;
  return value === undefined ? [] : settingLayers([`${field}=${value}`], option);
}

/**
 * The checkpoint that `--init-from` names: the directory itself, or the newest good one of a run's directory.
 *
 * @returns an absolute path
 * @throws WeftError `not_found` when there is none.
 */
async function findInitialCheckpoint(path: string): Promise<string> {
  const { newestCheckpoint, readManifest } = await import('@weft/checkpoint');
  const directory = resolve(path);
  try {
    await readManifest(directory);
    return directory;
  } catch (thrown) {
    if (!WeftError.is(thrown, 'not_found')) throw thrown;
    const { checkpoint } = await newestCheckpoint(directory);
    if (checkpoint !== undefined) return checkpoint.directory;
    throw new WeftError('not_found', `--init-from: ${directory} is neither a checkpoint nor a run that has one`, {
      cause: thrown,
      hint: 'name the folder of a run, or one of its checkpoints/step-… folders',
    });
  }
}
