import type { Server } from 'node:net';
import { systemErrorCode, WeftError } from './error.js';

export interface Address {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:[\]/]+)):(\d{1,5})$/;

/**
 * Reads `host:port`; an IPv6 host stands in brackets, `[::1]:7070`.
 *
 * @throws WeftError `invalid_argument` that quotes the text.
 */
export function parseAddress(text: string): Address {
  const [, bracketed, plain, digits] = ADDRESS.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new WeftError('invalid_argument', `${JSON.stringify(text)} is not an address`, {
      hint: 'write host:port, for instance 127.0.0.1:7070',
    });
  }
  return { host, port };
}

/** `host:port`, an IPv6 host in brackets. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Why a server could not listen, as an error with a hint: the port is taken, forbidden, or the host is not of this
 * machine. `server` names it for people ("the coordinator"), `option` the setting that chooses another port.
 */
export function listenError(cause: unknown, server: string, address: Address, option: string): WeftError {
  const where = formatAddress(address);
  const reason = systemCode(cause);
  if (reason === 'EADDRINUSE') {
    return new WeftError('port_in_use', `${server} cannot listen on ${where}, the port is taken`, {
      hint: `stop the process that listens there, or choose another port with ${option}`,
      cause,
    });
  }
  if (reason === 'EACCES') {
    return new WeftError('failed_precondition', `${server} may not listen on ${where}`, {
      hint: `choose a port above 1023 with ${option}`,
      cause,
    });
  }
  if (reason === 'EADDRNOTAVAIL' || reason === 'ENOTFOUND' || reason === 'EAI_AGAIN') {
    return new WeftError('invalid_argument', `${server} cannot listen on ${where}, this machine has no such address`, {
      hint: 'choose 127.0.0.1, 0.0.0.0 or an address of this machine',
      cause,
    });
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  return new WeftError('failed_precondition', `${server} cannot listen on ${where}: ${message}`, {
    hint: 'choose another address to listen on',
    cause,
  });
}

/** The code of an error of the operating system; some libraries keep it only in the message. */
function systemCode(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  return systemErrorCode(cause) ?? /\b(EADDRINUSE|EACCES|EADDRNOTAVAIL|ENOTFOUND|EAI_AGAIN)\b/.exec(cause.message)?.[0];
}

/** Resolves when a server listens. @throws the error of the operating system, see `listenError` */
export function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
