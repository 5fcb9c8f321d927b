import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Wheel } from '../types.mjs';
import { writeZip } from './zip-writer.js';

/** A small wheel in the shape of TensorFlow's, valid for pip too, and its pin. */
export function smallWheel(content = 'elf'): { readonly bytes: Buffer; readonly wheel: Wheel } {
  const info = 'tensorflow_cpu-2.21.0.dist-info';
  const bytes = writeZip([
    { name: 'tensorflow/libtensorflow_cc.so.2', content: content.repeat(100_000) },
    { name: 'tensorflow/libtensorflow_framework.so.2', content, stored: true },
    { name: 'tensorflow/__init__.py', content: 'raise SystemExit("not to be imported")' },
    { name: `${info}/METADATA`, content: 'Metadata-Version: 2.1\nName: tensorflow-cpu\nVersion: 2.21.0\n' },
    { name: `${info}/WHEEL`, content: 'Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_27_x86_64\n' },
    { name: `${info}/RECORD`, content: '' },
  ]);
  const wheel: Wheel = {
    project: 'tensorflow-cpu',
    version: '2.21.0',
    file: 'tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl',
    bytes: bytes.length,
    unpackedBytes: 400_000,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  };
  return { bytes, wheel };
}

/** An HTTP server on this machine that remembers what it was asked. */
export async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<{
  readonly url: string;
  readonly requests: IncomingMessage[];
  readonly close: () => Promise<void>;
}> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return { url: `http://127.0.0.1:${port}`, requests, close };
}

/** An index page for one wheel, as HTML, and the wheel. */
export function simpleIndex(file: string, bytes: Buffer): (request: IncomingMessage, response: ServerResponse) => void {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const link = `<a href="../../files/${file}#sha256=${sha256}">${file}</a>`;
  return (request, response) => {
    if (request.url === '/simple/tensorflow-cpu/') {
      response.setHeader('content-type', 'text/html');
      response.end(`<html><a href="../../files/other.whl">other.whl</a>\n${link}</html>`);
    } else if (request.url === `/files/${file}`) {
      response.end(bytes);
    } else {
      response.statusCode = 404;
      response.end();
    }
  };
}
