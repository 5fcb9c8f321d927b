import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TensorEntry, WeightsFile } from '@weft/checkpoint';
import { isJsonObject, type JsonObject, WeftError } from '@weft/common';
import { diskStore, readJsonFile } from '@weft/files';

/** The index of tensors that lie in several files. */
export const INDEX_FILE = 'model.safetensors.index.json';
/** What makes a tokenizer; the first is the one that Weft reads. */
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'] as const;

/** A tensor of the folder, and the file it is in. */
export interface FoundTensor {
  readonly file: WeightsFile;
  readonly entry: TensorEntry;
}

/** A folder as `transformers` and open_clip save models: configuration, weights in one or more files, perhaps a tokenizer. */
export class WeightsFolder {
  readonly path: string;
  readonly names: readonly string[];
  readonly tensors: ReadonlyMap<string, FoundTensor>;
  readonly #files: readonly WeightsFile[];

  /**
   * Opens the folder and reads the headers of its weights.
   *
   * @throws WeftError `not_found` when the folder, its weights or one of their files is missing, `corrupt_data` for
   *         headers that cannot be, a tensor in two files, or an index that does not fit them
   */
  static async open(path: string): Promise<WeightsFolder> {
    const names = await diskStore.list(path);
    const files: WeightsFile[] = [];
    try {
      for (const name of await weightsFiles(path, names)) files.push(await WeightsFile.open(join(path, name)));
      const tensors = new Map<string, FoundTensor>();
      for (const file of files)
        for (const entry of file.tensors) {
          const other = tensors.get(entry.name);
          if (other !== undefined)
            throw new WeftError('corrupt_data', `tensor "${entry.name}" is in ${other.file.path} and in ${file.path}`);
          tensors.set(entry.name, { file, entry });
        }
      return new WeightsFolder(path, names, tensors, files);
    } catch (thrown) {
      for (const file of files) await file.close();
      throw thrown;
    }
  }

  private constructor(
    path: string,
    names: readonly string[],
    tensors: ReadonlyMap<string, FoundTensor>,
    files: readonly WeightsFile[],
  ) {
    this.path = path;
    this.names = names;
    this.tensors = tensors;
    this.#files = files;
  }

  /** A JSON file of the folder; undefined where there is none. @throws WeftError `corrupt_data` when it is no object. */
  async json(name: string): Promise<JsonObject | undefined> {
    if (!this.names.includes(name)) return undefined;
    const path = join(this.path, name);
    const value = await readJsonFile(path);
    if (isJsonObject(value)) return value;
    throw new WeftError('corrupt_data', `${path} does not hold a JSON object`);
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }
}

async function weightsFiles(path: string, names: readonly string[]): Promise<readonly string[]> {
  if (names.includes(INDEX_FILE)) return indexedFiles(path, names);
  const files = names.filter((name) => name.endsWith('.safetensors'));
  const [first] = files;
  if (first === undefined) throw noWeights(path, names);
  if (files.length === 1) return files;
  // Beside each other: the same weights for transformers and for open_clip.
  const usual = ['model.safetensors', 'open_clip_model.safetensors'].find((name) => files.includes(name));
  if (usual !== undefined) return [usual];
  throw new WeftError('failed_precondition', `${path} holds ${files.length} safetensors files, but no ${INDEX_FILE}`, {
    hint: 'leave one file in the folder, or add the index that names their tensors',
  });
}

async function indexedFiles(path: string, names: readonly string[]): Promise<readonly string[]> {
  const index = await readJsonFile(join(path, INDEX_FILE));
  const map = isJsonObject(index) ? index.weight_map : undefined;
  if (!isJsonObject(map)) throw new WeftError('corrupt_data', `${join(path, INDEX_FILE)} lacks weight_map`);
  const files = [...new Set(Object.values(map).map(String))].toSorted();
  const missing = files.filter((file) => !names.includes(file));
  if (missing.length > 0)
    throw new WeftError('not_found', `${path} lacks ${missing.join(', ')}, which ${INDEX_FILE} names`, {
      hint: 'download the model again, all files of it',
    });
  return files;
}

function noWeights(path: string, names: readonly string[]): WeftError {
  const pickled = names.find((name) => /\.(bin|pth|pt)$/.test(name));
  return new WeftError('not_found', `${path} holds no safetensors file`, {
    hint:
      pickled === undefined
        ? 'name the folder of a model as transformers or open_clip save it'
        : `convert ${pickled} to safetensors with the program that wrote it`,
  });
}

/** Copies the files of a tokenizer. @returns whether there was one */
export async function copyTokenizer(from: string, names: readonly string[], to: string): Promise<boolean> {
  if (!names.includes(TOKENIZER_FILES[0])) return false;
  for (const name of TOKENIZER_FILES) if (names.includes(name)) await copyFile(join(from, name), join(to, name));
  return true;
}
