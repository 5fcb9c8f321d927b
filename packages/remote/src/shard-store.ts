import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { RemoteCounts } from '@weft/contracts';
import { diskShards, isRemote, type ShardStore } from '@weft/files';
import { parseAddress } from './address.js';
import { BlockCache } from './block-cache.js';
import { HttpsSource } from './https-source.js';
import { HuggingFaceSource } from './hugging-face.js';
import type { RemoteSource } from './remote-source.js';
import { RemoteStore } from './remote-store.js';
import { S3Source } from './s3-source.js';
import { type Environment, netrcAuthorization } from './tokens.js';

/** What a run sets of the reading of remote shards: `RemoteSettings` of its configuration. */
export interface RemoteStoreSettings {
  readonly endpoint: string | null;
  readonly region: string | null;
  readonly cacheDirectory: string | null;
  readonly cacheBytes: number;
}

const stores = new Map<string, RemoteStore>();

/**
 * The store that reads shards by their paths: files of this machine, and addresses. One process has one remote store for the same
 * settings, whatever opens it, so that connections and counts are shared.
 */
export function shardStore(settings: RemoteStoreSettings): ShardStore {
  const remote = () => remoteStore(settings);
  const of = (path: string) => (isRemote(path) ? remote() : diskShards);
  return {
    open: async (path, known) => await of(path).open(path, known),
    status: async (path) => await of(path).status(path),
    names: async (folder) => await of(folder).names(folder),
    list: async (folder) => await of(folder).list(folder),
    prepare: async (ranges, signal) => {
      const far = ranges.filter(({ path }) => isRemote(path));
      if (far.length > 0) await remote().prepare(far, signal);
    },
  };
}

/** What reading at a distance has cost this process so far, whatever settings it was done by. */
export function remoteCounts(): RemoteCounts {
  const all = [...stores.values()].map(({ counts }) => counts);
  const sum = (field: keyof RemoteCounts) => all.reduce((total, counts) => total + counts[field], 0);
  return {
    fetchedBytes: sum('fetchedBytes'),
    requests: sum('requests'),
    retries: sum('retries'),
    cacheHits: sum('cacheHits'),
    cacheMisses: sum('cacheMisses'),
    waitSeconds: sum('waitSeconds'),
  };
}

function remoteStore(settings: RemoteStoreSettings): RemoteStore {
  const key = JSON.stringify(settings);
  const known = stores.get(key);
  if (known !== undefined) return known;
  const store = new RemoteStore({
    sourceOf: sourcesOf(settings, process.env),
    cache: new BlockCache({
      directory: join(settings.cacheDirectory ?? defaultCacheDirectory(process.env), BLOCKS_FOLDER),
      mostBytes: settings.cacheBytes,
      onWarning: (message) => process.emitWarning(message, 'WeftWarning'),
    }),
  });
  stores.set(key, store);
  return store;
}

/** Below the folder of the cache, which a person may name for other things too: what it holds is removed when it is full. */
const BLOCKS_FOLDER = 'weft-blocks';

/** Beside what else Weft fetches. */
function defaultCacheDirectory(env: Environment): string {
  return join(env.WEFT_CACHE_DIR ? resolve(env.WEFT_CACHE_DIR) : join(homedir(), '.cache', 'weft'), 'data');
}

/** The source of each scheme, made when it is first used. */
function sourcesOf(
  { endpoint, region }: Pick<RemoteStoreSettings, 'endpoint' | 'region'>,
  env: Environment,
): (path: string) => RemoteSource {
  const made = new Map<string, RemoteSource>();
  const make = (scheme: ReturnType<typeof parseAddress>['scheme']): RemoteSource => {
    if (scheme === 's3' || scheme === 'gs') return new S3Source({ scheme, endpoint, region, env });
    if (scheme === 'hf') return new HuggingFaceSource(env);
    return new HttpsSource({ authorization: (origin) => netrcAuthorization(new URL(origin).hostname, env) });
  };
  return (path) => {
    const { scheme } = parseAddress(path);
    const source = made.get(scheme) ?? make(scheme);
    made.set(scheme, source);
    return source;
  };
}
