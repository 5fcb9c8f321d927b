import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { formatAddress, listenError, parseAddress } from './address.js';

it.each([
  ['127.0.0.1:7070', { host: '127.0.0.1', port: 7070 }],
  ['node-3.cluster.local:1', { host: 'node-3.cluster.local', port: 1 }],
  ['[::1]:65535', { host: '::1', port: 65_535 }],
])('reads %s and writes it back', (text, address) => {
  expect(parseAddress(text)).toEqual(address);
  expect(formatAddress(address)).toBe(text);
});

it.each(['', 'localhost', '7070', ':7070', 'host:0', 'host:65536', 'host:http', '::1:7070', 'http://host:80', 'a b:1'])(
  'refuses %j as an address',
  (text) => {
    expect(() => parseAddress(text)).toThrow(`${JSON.stringify(text)} is not an address`);
  },
);

it('a taken port is an error with a hint', async () => {
  const first = createServer();
  await new Promise<void>((resolve) => first.listen(0, '127.0.0.1', resolve));
  const address = first.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const second = createServer();
  const cause = await new Promise<unknown>((resolve) => second.once('error', resolve).listen(port, '127.0.0.1'));
  first.close();
  expect(listenError(cause, 'the coordinator', { host: '127.0.0.1', port }, '--port')).toMatchObject({
    code: 'port_in_use',
    message: `the coordinator cannot listen on 127.0.0.1:${port}, the port is taken`,
    hint: 'stop the process that listens there, or choose another port with --port',
    cause,
  });
});

it('other reasons not to listen have their own code', () => {
  const refused = (code: string) => listenError(new Error(`listen ${code}: no`), 'x', { host: 'h', port: 1 }, '--port');
  expect(refused('EACCES').code).toBe('failed_precondition');
  expect(refused('EADDRNOTAVAIL').code).toBe('invalid_argument');
  expect(refused('EMFILE')).toMatchObject({
    code: 'failed_precondition',
    message: 'x cannot listen on h:1: listen EMFILE: no',
  });
});
