import { WeftError } from '@weft/common';

/** Where a data plane listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
  /** "host:port", or "[host]:port" for IPv6. */
  readonly text: string;
}

/** Throws `invalid_argument` unless `text` is "host:port" with a port from 1 to 65535. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !(port >= 1 && port <= 65_535))
    throw new WeftError('invalid_argument', `"${text}" is not an address of the form host:port`);
  return { host, port, text };
}

export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
