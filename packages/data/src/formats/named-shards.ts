import { posix } from 'node:path';
import { isJsonObject, type SourceId, WeftError } from '@weft/common';
import { type BlobStatus, isRemote, joinPath, type ShardStore, withBlob } from '@weft/files';
import pLimit from 'p-limit';

/** A pattern that names more is a slip. */
const MOST_NAMES = 1_000_000;
const LARGEST_LIST_BYTES = 64 * 1024 * 1024;
const CONCURRENT_QUESTIONS = 16;

/** A shard that a setting names. */
export interface NamedShard extends BlobStatus {
  /** Its path below the folder of the dataset. */
  readonly name: string;
}

/**
 * The shards that `data.datasets.<dataset>.shards` names, see `shardNames`, as they are there.
 *
 * @throws WeftError as `shardNames`; `not_found` for a shard that is not there
 */
export async function namedShards(named: ShardNaming, store: ShardStore): Promise<readonly NamedShard[]> {
  const { folder, source } = named;
  const names = await shardNames(named, store);
  const limit = pLimit(CONCURRENT_QUESTIONS);
  return await Promise.all(
    names.map((name) =>
      limit(async () => {
        const status = await store.status(joinPath(folder, name));
        if (status !== undefined) return { name, ...status };
        limit.clearQueue();
        throw new WeftError('not_found', `the shard ${joinPath(folder, name)} does not exist`, {
          hint: `check data.datasets.${source}.shards, which names it`,
        });
      }),
    ),
  );
}

/** A dataset whose shards are named. */
interface ShardNaming {
  readonly folder: string;
  readonly source: SourceId;
  /** As `DatasetSettings.shards`. */
  readonly shards: string;
}

/**
 * The paths, below the folder of the dataset, that `data.datasets.<dataset>.shards` names, as users of WebDataset write them: a
 * pattern with braces (`train-{000000..000099}.tar`, `{cc3m,cc12m}/00000.tar`), several of them with `::` between; or a file in the
 * folder that lists them: `.txt` with a name a line, `.json` with a list of names, or with the `shardlist` of a WebDataset index.
 *
 * @throws WeftError `not_found` for a list that is not there; `invalid_argument` for a pattern that names nothing
 */
export async function shardNames(
  { folder, source, shards }: ShardNaming,
  store: ShardStore,
): Promise<readonly string[]> {
  const field = `data.datasets.${source}.shards`;
  const isList = /\.(txt|json)$/i.test(shards) && !/[{}]|::/.test(shards);
  const written = isList ? await listedNames(joinPath(folder, shards), store) : expandBraces(shards, field);
  const names = [...new Set(written.map((name) => belowFolder(name, folder, field)))];
  if (names.length === 0) throw new WeftError('invalid_argument', `${field} is ${shards}, which names no shard`);
  return names;
}

/** `a{1..3}.tar` is a1.tar, a2.tar, a3.tar; `{a,b}` is a and b; numbers keep the zeros in front of the first one. */
function expandBraces(pattern: string, field: string): string[] {
  const expand = (text: string): string[] => {
    const match = /^(.*?)\{([^{}]*)\}(.*)$/s.exec(text);
    if (match === null) {
      if (/[{}]/.test(text)) throw unusable(field, pattern, 'its braces do not match');
      return [text];
    }
    const [, before = '', inner = '', after = ''] = match;
    const choices = choicesOf(inner, pattern, field);
    const rest = expand(after);
    if (choices.length * rest.length > MOST_NAMES)
      throw unusable(field, pattern, `it names more than ${MOST_NAMES} shards`);
    return choices.flatMap((choice) => rest.map((end) => `${before}${choice}${end}`));
  };
  return pattern.split('::').flatMap(expand);
}

function choicesOf(inner: string, pattern: string, field: string): string[] {
  const range = /^(\d+)\.\.(\d+)$/.exec(inner);
  if (range === null) {
    if (!inner.includes(',')) throw unusable(field, pattern, `{${inner}} is neither a range nor a list`);
    return inner.split(',');
  }
  const [, first = '', last = ''] = range;
  const count = Number(last) - Number(first) + 1;
  if (count < 1) throw unusable(field, pattern, `{${inner}} ends before it begins`);
  if (count > MOST_NAMES) throw unusable(field, pattern, `it names more than ${MOST_NAMES} shards`);
  return Array.from({ length: count }, (_, i) => `${Number(first) + i}`.padStart(first.length, '0'));
}

const unusable = (field: string, pattern: string, why: string) =>
  new WeftError('invalid_argument', `${field} is ${pattern}: ${why}`, {
    hint: 'write a pattern such as train-{000000..000099}.tar',
  });

/** A list may hold whole addresses. */
function belowFolder(name: string, folder: string, field: string): string {
  const prefix = `${folder.replace(/\/+$/, '')}/`;
  const below = name.startsWith(prefix) ? name.slice(prefix.length) : name;
  const plain = posix.normalize(below).replace(/^(\.\/)+/, '');
  if (isRemote(below) || plain.startsWith('/') || plain.split('/').includes('..') || plain === '.')
    throw new WeftError('invalid_argument', `${field} names ${name}, which does not lie below ${folder}`, {
      hint: 'name shards by their paths below the folder of the dataset, data.datasets.<dataset>.directory',
    });
  return plain;
}

async function listedNames(path: string, store: ShardStore): Promise<readonly string[]> {
  const text = await withBlob(store, path, async (blob) => {
    if (blob.bytes > LARGEST_LIST_BYTES)
      throw new WeftError(
        'corrupt_data',
        `the list ${path} has ${blob.bytes} bytes, and none has more than ${LARGEST_LIST_BYTES}`,
      );
    const content = Buffer.alloc(blob.bytes);
    await blob.read(content, 0);
    return content.toString('utf8');
  });
  if (!/\.json$/i.test(path))
    return text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'));
  const names = namesInJson(text);
  if (names !== undefined) return names;
  throw new WeftError('corrupt_data', `${path} lists no shards`, {
    hint: 'write a list of names, or {"shardlist": [{"url": "…"}]}',
  });
}

function namesInJson(text: string): readonly string[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const list: unknown = isJsonObject(value) ? value.shardlist : value;
  if (!Array.isArray(list)) return undefined;
  const names = list.map((entry: unknown) => (isJsonObject(entry) ? entry.url : entry));
  return names.every((name) => typeof name === 'string') ? names : undefined;
}
