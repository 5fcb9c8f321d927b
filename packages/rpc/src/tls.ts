import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ChannelCredentials, ServerCredentials } from '@grpc/grpc-js';
import { WeftError } from '@weft/common';

/** PEM files of one process. The same three files give both sides of a cluster mutual TLS. */
export interface TlsFiles {
  /** The authority that signed the other side's certificate. A server with an authority admits only clients with a certificate. */
  readonly authority?: string;
  /** The certificate of this process, with its chain; a server must have one. */
  readonly certificate?: string;
  /** The private key of `certificate`. */
  readonly privateKey?: string;
}

/**
 * @throws WeftError `not_found` or `invalid_argument` that names the file, `invalid_argument` when certificate or key
 * is left out.
 */
export async function serverCredentials(tls: TlsFiles | undefined): Promise<ServerCredentials> {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { authority, identity } = await readAll(tls);
  if (identity === undefined) {
    throw new WeftError('invalid_argument', 'a server with TLS needs its own certificate and private key', {
      hint: 'name both PEM files',
    });
  }
  const pair = { cert_chain: identity.certificate, private_key: identity.privateKey };
  return ServerCredentials.createSsl(authority, [pair], authority !== null);
}

/** A client need not have a certificate. Errors as `serverCredentials`. */
export async function channelCredentials(tls: TlsFiles | undefined): Promise<ChannelCredentials> {
  if (tls === undefined) return ChannelCredentials.createInsecure();
  const { authority, identity } = await readAll(tls);
  return ChannelCredentials.createSsl(authority, identity?.privateKey, identity?.certificate);
}

async function readAll({ authority, certificate, privateKey }: TlsFiles) {
  if ((certificate === undefined) !== (privateKey === undefined)) {
    throw new WeftError('invalid_argument', 'a certificate and its private key belong together, but only one is given');
  }
  return {
    authority: authority === undefined ? null : await readPem(authority, parseCertificate, 'a certificate'),
    identity: certificate && privateKey ? await readIdentity(certificate, privateKey) : undefined,
  };
}

async function readIdentity(certificatePath: string, keyPath: string) {
  const certificate = await readPem(certificatePath, parseCertificate, 'a certificate');
  const privateKey = await readPem(keyPath, createPrivateKey, 'a private key without a passphrase');
  if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey))) {
    throw new WeftError(
      'invalid_argument',
      `the private key ${keyPath} does not belong to the certificate ${certificatePath}`,
    );
  }
  return { certificate, privateKey };
}

const parseCertificate = (pem: Buffer) => new X509Certificate(pem);

async function readPem(path: string, parse: (pem: Buffer) => unknown, expected: string): Promise<Buffer> {
  let pem: Buffer;
  try {
    pem = await readFile(path);
  } catch (cause) {
    throw new WeftError('not_found', `the TLS file ${path} cannot be read`, { cause });
  }
  try {
    parse(pem);
  } catch (cause) {
    throw new WeftError('invalid_argument', `the TLS file ${path} does not hold ${expected} in PEM form`, { cause });
  }
  return pem;
}
