import { type Address, didYouMean, formatAddress, WeftError } from '@weft/common';

/** A parsed Redis URL. */
export interface RedisTarget {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  /** The server, the sentinels, or some nodes of the cluster. */
  readonly nodes: readonly Address[];
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
  /** The master's name at the sentinels. */
  readonly masterName: string | undefined;
  readonly parameters: Partial<Record<Parameter, string>>;
  /** For messages, without secrets: `127.0.0.1:6379`. */
  readonly displayName: string;
}

const PARAMETERS = ['ca', 'cert', 'key', 'servername', 'sentinelUsername', 'sentinelPassword'] as const;
type Parameter = (typeof PARAMETERS)[number];

const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26_379;
const URL_PARTS = /^(rediss?)(\+sentinel|\+cluster)?:\/\/(?:([^@/]*)@)?([^/?@]+)(?:\/([^?]*))?(?:\?(.*))?$/;
const HOST_AND_PORT = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/;

/**
 * Reads one of
 *
 * - `redis://[user:password@]host[:port][/database]`
 * - `redis+sentinel://[user:password@]host[:port][,…]/master[/database][?sentinelUsername=…&sentinelPassword=…]`
 * - `redis+cluster://[user:password@]host[:port][,…]`
 *
 * With `rediss` the connection is encrypted; `ca`, `cert` and `key` name PEM files, `servername` the name the certificate
 * is for. Special characters are percent-encoded.
 *
 * @throws WeftError `invalid_argument`; its text never repeats the URL, which may hold a password.
 */
export function parseRedisUrl(url: string): RedisTarget {
  const [, scheme, mode, login, hosts = '', path = '', query] = URL_PARTS.exec(url.trim()) ?? [];
  if (scheme === undefined) throw invalid('is not one');
  const kind = mode === '+sentinel' ? 'sentinel' : mode === '+cluster' ? 'cluster' : 'single';
  const defaultPort = kind === 'sentinel' ? DEFAULT_SENTINEL_PORT : DEFAULT_PORT;
  const nodes = hosts.split(',').map((text) => readNode(text, defaultPort));
  if (kind === 'single' && nodes.length > 1) {
    throw invalid('names several hosts', 'write redis+sentinel:// or redis+cluster:// in front of them');
  }
  const [username, ...password] = (login ?? '').split(':');
  const segments = path.split('/').filter((segment) => segment !== '');
  const masterName = kind === 'sentinel' ? segments.shift() : undefined;
  if (kind === 'sentinel' && masterName === undefined)
    throw invalid('does not name the master', 'write redis+sentinel://host:26379/mymaster');
  const database = readDatabase(segments, kind);
  const addresses = nodes.map(formatAddress).join(',');
  return {
    ...{ kind, nodes, tls: scheme === 'rediss', database, masterName, parameters: readParameters(query) },
    username: decoded(username) || undefined,
    password: decoded(password.join(':')) || undefined,
    displayName: kind === 'sentinel' ? `${masterName} of the sentinels ${addresses}` : addresses,
  };
}

function readNode(text: string, defaultPort: number): Address {
  const [, bracketed, plain, port] = HOST_AND_PORT.exec(text) ?? [];
  const host = bracketed ?? plain;
  const node = { host: host ?? '', port: port === undefined ? defaultPort : Number(port) };
  if (host === undefined || node.port < 1 || node.port > 65_535) throw invalid('names no host and port');
  return node;
}

function readDatabase(segments: readonly string[], kind: RedisTarget['kind']): number {
  const [text = '0', ...rest] = segments;
  if (rest.length > 0 || !/^\d{1,4}$/.test(text))
    throw invalid('ends with something that is not the number of a database');
  if (kind === 'cluster' && text !== '0')
    throw invalid('names a database, and a cluster has only one', 'leave it out, and use --redis-prefix');
  return Number(text);
}

function readParameters(query: string | undefined): RedisTarget['parameters'] {
  const parameters: Partial<Record<Parameter, string>> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    const known = PARAMETERS.find((parameter) => parameter === name);
    if (known === undefined) {
      const meant = didYouMean(name, PARAMETERS);
      throw invalid(
        `has an unknown parameter ${JSON.stringify(name)}`,
        meant === undefined ? `use ${PARAMETERS.join(', ')}` : `did you mean ${meant}`,
      );
    }
    parameters[known] = value;
  }
  return parameters;
}

function decoded(text: string | undefined): string {
  try {
    return decodeURIComponent(text ?? '');
  } catch {
    throw invalid('has a user or password that is not encoded for a URL', 'write a percent sign as %25');
  }
}

const invalid = (what: string, hint = 'write it like redis://127.0.0.1:6379') =>
  new WeftError('invalid_argument', `the URL of Redis ${what}`, { hint });
